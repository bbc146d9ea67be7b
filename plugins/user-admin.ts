import fp from 'fastify-plugin'
import { createUserAdmin } from '../services/users/admin.js'

declare module 'fastify' {
  interface FastifyInstance {
    userAdmin: ReturnType<typeof createUserAdmin>
  }
}

/** `app.userAdmin`: the actions of admins on users. */
export default fp(async function userAdmin (app) {
  const { accounts, collections: { reports, users }, config, roles, now } = app
  app.decorate('userAdmin', createUserAdmin({ users, reports, accounts, roles, region: config.DEFAULT_REGION, now }))
}, { name: 'user-admin', dependencies: ['env', 'clock', 'mongo', 'accounts', 'roles'] })
