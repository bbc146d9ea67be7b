import fp from 'fastify-plugin'
import { collectDefaultMetrics, Counter, Registry } from 'prom-client'
import type { AuditEvent } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyInstance {
    metrics: {
      registry: Registry
      /** Counts all audit events, by name and, if there is one, by reason. */
      events: Counter<'event' | 'reason'>
    }
  }
}

const EVENTS: AuditEvent[] = [
  'otp.sent', 'otp.limited', 'otp.failed', 'otp.undelivered', 'otp.verified', 'otp.rejected', 'otp.locked',
  'session.opened', 'session.revoked', 'refresh_token.reused'
]

/** `app.metrics`: the counters of this process, for Prometheus. */
export default fp(async function metrics (app) {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, prefix: 'hookaba_' })
  const events = new Counter({
    name: 'hookaba_events_total',
    help: 'What happened, by the names of the audit',
    labelNames: ['event', 'reason'],
    registers: [registry]
  })
  for (const event of EVENTS) events.inc({ event, reason: '' }, 0)
  app.decorate('metrics', { registry, events })
  app.addHook('onClose', async () => { registry.clear() })
}, { name: 'metrics' })
