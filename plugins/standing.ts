import fp from 'fastify-plugin'
import { listOf } from '../services/config.js'
import { requirePhone } from '../services/phone.js'
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
  const { config, collections, now } = app
  const testCode = createTestNumbers(config, now)
  app.decorate('testCode', testCode)
  app.decorate('standing', createStanding({
    users: collections.users,
    isTestNumber: phone => testCode(phone) !== undefined,
    adminNumbers: listOf(config.ADMIN_NUMBERS).map(number => requirePhone(number, config.DEFAULT_REGION, 'ADMIN_NUMBERS'))
  }))
}, { name: 'standing', dependencies: ['env', 'clock', 'mongo'] })
