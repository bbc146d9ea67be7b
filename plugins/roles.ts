import fp from 'fastify-plugin'
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
    adminNumbers: config.adminNumbers
  }))
}, { name: 'roles', dependencies: ['env', 'mongo', 'test-numbers'] })
