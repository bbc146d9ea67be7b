import fp from 'fastify-plugin'
import { createSessions } from '../services/sessions/sessions.js'

declare module 'fastify' {
  interface FastifyInstance {
    sessions: ReturnType<typeof createSessions>
    /** A hook for `onRequest`. Throws 403 unless the caller has signed in within the last 10 minutes. */
    requireRecentSignIn: (request: FastifyRequest) => Promise<void>
  }
}

/** `app.sessions`: opens and ends sessions. */
export default fp(async function sessions (app) {
  const { accounts, collections, config, roles, now } = app
  const sessions = createSessions({
    users: collections.users,
    accounts,
    isConfiguredAdmin: roles.isConfiguredAdmin,
    secret: config.OTP_SECRET,
    lifeSeconds: config.accessTokenSeconds,
    now
  })
  app.decorate('sessions', sessions)
  app.decorate('requireRecentSignIn', async ({ caller }) => sessions.requireRecent(caller.session))
}, { name: 'sessions', dependencies: ['env', 'clock', 'mongo', 'accounts', 'roles', 'request-caller'] })
