import fp from 'fastify-plugin'
import { createHealth } from '../services/health.js'

declare module 'fastify' {
  interface FastifyInstance {
    health: ReturnType<typeof createHealth>
  }
}

/** `app.health`: whether the database and the store answer. */
export default fp(async function health (app) {
  const { mongo, mediaStore } = app
  app.decorate('health', createHealth({
    checks: { database: () => mongo.db!.command({ ping: 1 }), store: () => mediaStore.ping() }
  }))
}, { name: 'health', dependencies: ['mongo', 's3'] })
