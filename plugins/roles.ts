import fp from 'fastify-plugin'
import { listOf } from '../services/config.js'
import { requirePhone } from '../services/phone.js'
import { createRoles, type Roles } from '../services/users/roles.js'

declare module 'fastify' {
  interface FastifyInstance {
    roles: Roles
  }
}

/** `app.roles`: blocked accounts and admins. */
export default fp(async function roles (app) {
  const { config, collections, testNumbers } = app
  app.decorate('roles', createRoles({
    users: collections.users,
    isTestNumber: phone => testNumbers.codeOf(phone) !== undefined,
    adminNumbers: listOf(config.ADMIN_NUMBERS).map(number =>
      requirePhone(number, config.DEFAULT_REGION, 'ADMIN_NUMBERS').e164)
  }))
}, { name: 'roles', dependencies: ['env', 'mongo', 'test-numbers'] })
