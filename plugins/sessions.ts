import fp from 'fastify-plugin'
import { parseDuration } from '../services/config.js'
import { createSessions } from '../services/sessions.js'

declare module 'fastify' {
  interface FastifyInstance {
    sessions: ReturnType<typeof createSessions>
  }
}

/** `app.sessions`: who is signed in. */
export default fp(async function sessions (app) {
  const { collections, config, now, standing, log } = app
  app.decorate('sessions', createSessions({
    sessions: collections.sessions,
    isBlocked: standing.isBlocked,
    secret: config.OTP_SECRET,
    lifeSeconds: parseDuration(config.ACCESS_TOKEN_TTL)!,
    now,
    log
  }))
}, { name: 'sessions', dependencies: ['env', 'clock', 'mongo', 'standing'] })
