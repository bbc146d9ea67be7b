import fp from 'fastify-plugin'
import { changesRight, createAudit, maskedPhone } from '../services/audit.js'
import { withinDeadline } from '../services/request-deadline.js'
import type { RequestContext } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyInstance {
    audit: ReturnType<typeof createAudit>
  }
  interface FastifyRequest {
    /** The client of this request, and the function that records its events. */
    requestContext: RequestContext
    /** Whether a recorded event must be written before the answer. */
    auditDue: boolean
  }
}

const MAX_USER_AGENT = 255

/**
 * `app.audit` and `request.requestContext`: one call writes an event to the log, the audit and the metrics. The answer
 * waits until an event that changes a right is in the database.
 */
export default fp(async function audit (app) {
  const { collections, now, metrics } = app
  const auditLog = createAudit({ audit: collections.audit, log: app.log, now })
  app.decorate('audit', auditLog)
  app.decorateRequest('auditDue', false)
  app.decorateRequest('requestContext', {
    getter () {
      const request = this
      const { clientAddress: address, id: requestId, log } = request
      return {
        address,
        userAgent: (this.headers['user-agent'] ?? '').slice(0, MAX_USER_AGENT),
        log,
        record (event, subject, details = {}) {
          log.info({ event, phone: maskedPhone(subject), ...details })
          metrics.events.inc({ event, reason: typeof details.reason === 'string' ? details.reason : '' })
          auditLog.add({ event, subject, address, requestId, details, anonymous: request.caller === null })
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
}, { name: 'audit', dependencies: ['clock', 'client-address', 'mongo', 'metrics'] })
