import fp from 'fastify-plugin'
import { parseDuration } from '../services/config.js'
import { createSessionStore } from '../services/session-store.js'
import { createSessions } from '../services/sessions.js'

declare module 'fastify' {
  interface FastifyInstance {
    sessions: ReturnType<typeof createSessions>
  }
}

/** `app.sessions`: who is signed in. */
export default fp(async function sessions (app) {
  const { collections, config, now, standing, log } = app
  const base = { sessions: collections.sessions, isBlocked: standing.isBlocked, now }
  app.decorate('sessions', createSessions({
    ...base,
    store: createSessionStore({ ...base, log }),
    secret: config.OTP_SECRET,
    lifeSeconds: parseDuration(config.ACCESS_TOKEN_TTL)!
  }))
}, { name: 'sessions', dependencies: ['env', 'clock', 'mongo', 'standing'] })
