import fp from 'fastify-plugin'
import { Gauge } from 'prom-client'
import { createHealth } from '../services/health.js'

declare module 'fastify' {
  interface FastifyInstance {
    health: ReturnType<typeof createHealth>
  }
}

/** `app.health`: whether the database and the store answer. */
export default fp(async function health (app) {
  const { database, mediaStore } = app
  const checks = { database: () => database.command({ ping: 1 }), store: () => mediaStore.ping() }
  const dependencies = createHealth({ checks })
  app.decorate('health', dependencies)
  app.metrics.registry.registerMetric(new Gauge({
    name: 'hookaba_dependency_up',
    help: 'Whether a dependency answers: 1 or 0',
    labelNames: ['dependency'],
    registers: [],
    async collect () {
      const failing = await dependencies.failing()
      for (const dependency of Object.keys(checks)) this.set({ dependency }, failing.includes(dependency) ? 0 : 1)
    }
  }))
}, { name: 'health', dependencies: ['metrics', 'mongo', 's3'] })
