import fp from 'fastify-plugin'
import { collectDefaultMetrics, Counter, Registry } from 'prom-client'
import { AUDIT_EVENTS } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyInstance {
    metrics: {
      registry: Registry
      /** Counts all audit events, by name and, if there is one, by reason. */
      events: Counter<'event' | 'reason'>
    }
  }
}

/** Gauges whose names break the conventions of Prometheus: only a counter ends with `_total`. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total']

/** `app.metrics`: the counters of this process, for Prometheus. */
export default fp(async function metrics (app) {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const name of MISNAMED) registry.removeSingleMetric(name)
  const events = new Counter({
    name: 'hookaba_events_total',
    help: 'Events, by the names of the audit and by reason',
    labelNames: ['event', 'reason'],
    registers: [registry]
  })
  for (const event of AUDIT_EVENTS) events.inc({ event, reason: '' }, 0)
  app.decorate('metrics', { registry, events })
  app.addHook('onClose', async () => { registry.clear() })
}, { name: 'metrics' })
