import fp from 'fastify-plugin'
import { createTestNumbers } from '../services/login/test-numbers.js'
import { createRoles, type Roles } from '../services/users/roles.js'

declare module 'fastify' {
  interface FastifyInstance {
    roles: Roles
    /** The fixed code of a test number; undefined for every other. */
    testCode: ReturnType<typeof createTestNumbers>['codeOf']
    /** When a session must end that a phone's test code may have opened. */
    testEnd: ReturnType<typeof createTestNumbers>['endOf']
  }
}

/**
 * `app.roles`: blocked accounts and admins. `app.testCode` and `app.testEnd`: the numbers with a known code, and their
 * end.
 */
export default fp(async function roles (app) {
  const { config, collections, now } = app
  const { codeOf: testCode, endOf } = createTestNumbers(config, now)
  app.decorate('testCode', testCode)
  app.decorate('testEnd', endOf)
  app.decorate('roles', createRoles({
    users: collections.users,
    isTestNumber: phone => testCode(phone) !== undefined,
    adminNumbers: config.adminNumbers
  }))
}, { name: 'roles', dependencies: ['env', 'clock', 'mongo'] })
