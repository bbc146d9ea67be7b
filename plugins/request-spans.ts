import type { Span } from '@opentelemetry/api'
import fp from 'fastify-plugin'
import { routeName } from '../services/route-name.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** Undefined for probes, and where nothing is traced. */
    span?: Span
  }
}

/**
 * Each request has a span, by method and route, and its log lines have the id of its trace. A request that is refused
 * before authentication has none. A path is in no span: it may hold a phone number.
 */
export default fp(async function requestSpans (app) {
  const { tracing } = app
  if (!tracing) return
  app.decorateRequest('span')
  app.addHook('onRequest', (request, reply, done) => {
    if (request.routeOptions.config.isProbe) return done()
    const { method, headers } = request
    const route = routeName(request.routeOptions.url)
    const span = tracing.startRequest(`${method} ${route}`, { 'http.request.method': method, 'http.route': route }, headers)
    request.span = span
    request.log = reply.log = request.log.child({ trace_id: span.spanContext().traceId })
    tracing.run(span, done)
  })
  // the end of a body comes in another async context
  app.addHook('preValidation', ({ span }, _reply, done) => span ? tracing.run(span, done) : done())

  app.onRequestEnd(({ span }, { statusCode }, isAborted) => {
    if (!span) return
    if (isAborted) span.setAttribute('error.type', 'connection_closed')
    else {
      span.setAttribute('http.response.status_code', statusCode)
      if (statusCode >= 500) tracing.markFailed(span, String(statusCode))
    }
    span.end()
  })
}, { name: 'request-spans', dependencies: ['tracing', 'cors', 'request-end'] })
