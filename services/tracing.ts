import {
  diag,
  DiagLogLevel,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
  type Span,
  type TextMapGetter
} from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { AsyncLocalStorage } from 'node:async_hooks'
import type { IncomingHttpHeaders } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { packageVersion } from './package-version.js'
import type { InSpan, SpanFacts } from './ports.js'

/** A receiver that is silent must not hold up the end of the process. */
const MAX_STOP_MS = 300
const KINDS = { client: SpanKind.CLIENT, internal: SpanKind.INTERNAL }

/** A client may write anything into `tracestate`, and each span would repeat it. */
const TRACEPARENT_ONLY: TextMapGetter<IncomingHttpHeaders> = {
  keys: () => ['traceparent'],
  get: (headers, name) => name === 'traceparent' ? headers[name] as string | undefined : undefined
}

export interface TracingOptions {
  /** The base URL of an OTLP receiver. Spans go to its path `v1/traces`. */
  endpoint: string
  protocol: 'http/protobuf' | 'http/json'
  /** Called when the SDK loses spans or ignores a variable. It is called for all traces of the process. */
  onFailure: (reason: string) => void
  /** How long `stop` may take, in milliseconds. */
  maxStopMs?: number
}

export interface Tracing {
  /** Begins the span of a request. It continues the client's trace if `headers` name one (W3C Trace Context). */
  startRequest: (name: string, attributes: Attributes, headers: IncomingHttpHeaders) => Span
  /**
   * Begins a span within the current one. Returns nothing if none is current, if that has ended, or if the trace is not
   * sampled.
   */
  start: (facts: SpanFacts) => Span | undefined
  /** Runs work with this span as the current one. */
  run: <T>(span: Span, work: () => T) => T
  inSpan: InSpan
  /** Marks a span as failed, with the kind of the error. */
  markFailed: (span: Span, errorType: string) => void
  /** Begins to send the spans that are left. */
  flush: () => void
  /** Sends the spans that are left, within `maxStopMs`. */
  stop: () => Promise<void>
}

/**
 * Sends spans to an OTLP receiver. The SDK takes the sampler, the limits of batches, headers and resource attributes
 * from their standard variables (`OTEL_…`). A span holds no message of an error: a driver's message may quote a phone
 * number.
 *
 * The packages that instrument libraries are not used. They replace functions of modules when these are loaded; in the
 * image all modules are in one bundle, so that there is nothing to replace.
 */
export function createTracing ({ endpoint, protocol, onFailure, maxStopMs = MAX_STOP_MS }: TracingOptions): Tracing {
  diag.setLogger(
    { error: onFailure, warn: onFailure, info () {}, debug () {}, verbose () {} },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true }
  )
  const Exporter = protocol === 'http/json' ? JsonExporter : ProtobufExporter
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': 'hookaba-api', 'service.version': packageVersion }))
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(new Exporter({ url: `${endpoint.replace(/\/+$/, '')}/v1/traces` }))]
  })
  const tracer = provider.getTracer('hookaba-api', packageVersion)
  const propagator = new W3CTraceContextPropagator()
  const current = new AsyncLocalStorage<Span>()

  return {
    startRequest (name, attributes, headers) {
      const parent = propagator.extract(ROOT_CONTEXT, headers, TRACEPARENT_ONLY)
      return tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent)
    },
    start,
    run: (span, work) => current.run(span, work),

    async inSpan (facts, work) {
      const span = start(facts)
      if (!span) return work()
      try {
        return await current.run(span, work)
      } catch (error) {
        if (facts.isFailure?.(error) ?? true) markFailed(span, error instanceof Error ? error.name : 'unknown')
        throw error
      } finally {
        span.end()
      }
    },

    markFailed,

    flush () { provider.forceFlush().catch(errors => onFailure(String(errors))) },

    async stop () {
      const stopped = new AbortController()
      const tooLate = wait(maxStopMs, undefined, { ref: false, signal: stopped.signal })
        .then(() => onFailure(`no answer within ${maxStopMs} ms of the stop`), () => {})
      await Promise.race([provider.shutdown().catch(errors => onFailure(String(errors))), tooLate])
      stopped.abort()
    }
  }

  function start ({ name, kind, attributes }: SpanFacts): Span | undefined {
    const parent = current.getStore()
    if (!parent?.isRecording()) return undefined
    return tracer.startSpan(name, { kind: KINDS[kind], attributes }, trace.setSpan(ROOT_CONTEXT, parent))
  }
}

function markFailed (span: Span, errorType: string): void {
  span.setAttribute('error.type', errorType)
  span.setStatus({ code: SpanStatusCode.ERROR })
}
