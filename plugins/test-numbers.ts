import fp from 'fastify-plugin'
import { createTestNumbers } from '../services/login/test-numbers.js'

declare module 'fastify' {
  interface FastifyInstance {
    testNumbers: ReturnType<typeof createTestNumbers>
  }
}

/** `app.testNumbers`: the numbers with a known code, and their end. */
export default fp(async function testNumbers (app) {
  app.decorate('testNumbers', createTestNumbers(app.config, app.now))
}, { name: 'test-numbers', dependencies: ['env', 'clock'] })
