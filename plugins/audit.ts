import fp from 'fastify-plugin'
import { changesRight, createAudit, maskedPhone } from '../services/audit.js'
import type { AuditEvent, Log, RequestContext, Subject } from '../services/ports.js'
import { withinDeadline } from '../services/request-deadline.js'

declare module 'fastify' {
  interface FastifyInstance {
    audit: ReturnType<typeof createAudit>
    /** Records an event that no request has caused. */
    recordEvent: RequestContext['record']
  }
  interface FastifyRequest {
    /** The client of this request, and the function that records its events. */
    requestContext: RequestContext
    /** Whether a recorded event must be written before the answer. */
    auditDue: boolean
  }
}

/** Where an event comes from. */
interface Origin { log: Log, address: string, requestId: string, anonymous?: boolean }

const MAX_USER_AGENT = 255

/**
 * `app.audit`, `app.recordEvent` and `request.requestContext`: one call writes an event to the log, the audit and the
 * metrics. The answer waits until an event that changes a right is in the database.
 */
export default fp(async function audit (app) {
  const { collections, now, metrics } = app
  const auditLog = createAudit({ audit: collections.audit, log: app.log, now })
  app.decorate('audit', auditLog)
  app.decorate('recordEvent', (event, subject, details) => {
    record({ log: app.log, address: '', requestId: '' }, event, subject, details)
  })
  app.decorateRequest('auditDue', false)
  app.decorateRequest('requestContext', {
    getter () {
      const request = this
      const { id: requestId, log } = request
      return {
        get address () { return request.clientAddress },
        get userAgent () { return (request.headers['user-agent'] ?? '').slice(0, MAX_USER_AGENT) },
        log,
        record (event, subject, details) {
          const origin = { log, address: request.clientAddress, requestId, anonymous: request.authenticated === null }
          record(origin, event, subject, details)
          request.auditDue ||= changesRight(event)
        }
      }
    }
  })
  app.addHook('onSend', (request, _reply, payload, done) => {
    if (!request.auditDue) return done(null, payload)
    request.auditDue = false
    const answer = () => done(null, payload)
    withinDeadline(() => auditLog.flush()).then(answer, answer) // a late write goes on
  })
  app.addHook('onClose', () => auditLog.close())

  function record (
    { log, ...origin }: Origin,
    event: AuditEvent,
    subject: Subject,
    details: Parameters<RequestContext['record']>[2] = {}
  ): void {
    log.info({ event, phone: maskedPhone(subject), ...details })
    metrics.events.inc({ event, reason: typeof details.reason === 'string' ? details.reason : '' })
    auditLog.add({ event, subject, details, ...origin })
  }
}, { name: 'audit', dependencies: ['request-caller', 'clock', 'client-address', 'mongo', 'metrics'] })
