import fp from 'fastify-plugin'
import type { AppOptions } from '../app.js'
import type { Clock } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyInstance {
    now: Clock
  }
}

/** `app.now`: the one clock of this process. */
export default fp<AppOptions>(async function clock (app, { now = () => new Date() }) {
  app.decorate('now', now)
}, { name: 'clock' })
