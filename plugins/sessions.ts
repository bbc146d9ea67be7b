import fp from 'fastify-plugin'
import { createSessions } from '../services/sessions/sessions.js'

declare module 'fastify' {
  interface FastifyInstance {
    sessions: ReturnType<typeof createSessions>
  }
}

/** `app.sessions`: opens and ends sessions. */
export default fp(async function sessions (app) {
  const { accounts, collections, config, roles, now } = app
  app.decorate('sessions', createSessions({
    users: collections.users,
    accounts,
    isConfiguredAdmin: roles.isConfiguredAdmin,
    secret: config.OTP_SECRET,
    lifeSeconds: config.accessTokenSeconds,
    now
  }))
}, { name: 'sessions', dependencies: ['env', 'clock', 'mongo', 'accounts', 'roles'] })
