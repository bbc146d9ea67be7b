import fp from 'fastify-plugin'
import { createUsers } from '../services/users/users.js'

declare module 'fastify' {
  interface FastifyInstance {
    users: ReturnType<typeof createUsers>
  }
}

/** `app.users`: the user directory. */
export default fp(async function users (app) {
  const { accounts, collections, config, roles, now } = app
  app.decorate('users', createUsers({
    users: collections.users,
    accounts,
    roles,
    region: config.DEFAULT_REGION,
    requireOwnNumber: config.USERS_REQUIRE_OWN_NUMBER,
    now
  }))
}, { name: 'users', dependencies: ['env', 'clock', 'mongo', 'accounts', 'roles'] })
