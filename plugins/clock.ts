import fp from 'fastify-plugin'
import type { AppSettings, Clock } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyInstance {
    now: Clock
  }
}

/** `app.now`: the one clock of this process. */
export default fp<AppSettings>(async function clock (app, { now = () => new Date() }) {
  app.decorate('now', now)
}, { name: 'clock' })
