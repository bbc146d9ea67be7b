import fp from 'fastify-plugin'
import type { AppSettings, InSpan } from '../services/ports.js'
import type { Tracing } from '../services/tracing.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** Undefined without OTEL_EXPORTER_OTLP_ENDPOINT. */
    tracing?: Tracing
    /** Runs work in a span of the current request's trace, where there is one. */
    inSpan: InSpan
  }
}

/**
 * `app.tracing`, `app.inSpan`: OpenTelemetry. It is loaded only if OTEL_EXPORTER_OTLP_ENDPOINT is set. It stops last,
 * after everything that has spans.
 */
export default fp<AppSettings>(async function tracing (app, { traceStopMs: maxStopMs }) {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: protocol } = app.config
  if (endpoint === undefined) {
    app.decorate('tracing', undefined)
    app.decorate('inSpan', (_facts, work) => work())
    return
  }
  const { createTracing } = await import('../services/tracing.js')
  const tracing = createTracing({
    endpoint,
    protocol,
    maxStopMs,
    onFailure: reason => app.log.warn({ event: 'trace.failed', reason },
      'OpenTelemetry reports a fault: spans are lost, or a variable OTEL_… is ignored')
  })
  app.decorate('tracing', tracing)
  app.decorate('inSpan', tracing.inSpan)
  app.addHook('preClose', async () => tracing.flush())
  app.addHook('onClose', () => tracing.stop())
}, { name: 'tracing', dependencies: ['env'] })
