import fp from 'fastify-plugin'
import { createStanding } from '../services/standing.js'
import { createTestNumbers } from '../services/test-numbers.js'

declare module 'fastify' {
  interface FastifyInstance {
    standing: ReturnType<typeof createStanding>
    /** The fixed code of a test number; undefined for every other. */
    testCode: ReturnType<typeof createTestNumbers>
  }
}

/** `app.standing`: who is blocked, who is an admin; `app.testCode`: who is neither, whatever the database says. */
export default fp(async function standing (app) {
  const testCode = createTestNumbers(app.config, app.now)
  app.decorate('testCode', testCode)
  app.decorate('standing', createStanding({ users: app.collections.users, isTestNumber: phone => testCode(phone) !== undefined }))
}, { name: 'standing', dependencies: ['env', 'clock', 'mongo'] })
