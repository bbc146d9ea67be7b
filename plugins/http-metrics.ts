import fp from 'fastify-plugin'
import { Gauge } from 'prom-client'
import { routeName } from '../services/route-name.js'
import { createSeriesHistogram } from '../services/series-histogram.js'

/** Seconds, from a kept page to the longest wait for a provider. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
/** The status of a request whose client left before the answer. No server sends it; nginx logs it so. */
const ABORTED = 499

/** Counts and times requests by method, route and status, and shows how many are in progress. */
export default fp(async function httpMetrics (app) {
  const observe = createSeriesHistogram({
    registry: app.metrics.registry,
    name: 'http_request_duration_seconds',
    help: 'Requests, by method, route and status; 499: the client left before the answer',
    labelNames: ['method', 'route', 'status_code'],
    buckets: BUCKETS
  })
  app.metrics.registry.registerMetric(new Gauge({
    name: 'http_requests_in_progress',
    help: 'Requests that are not answered yet, probes included',
    registers: [],
    collect () { this.set(app.requestsInProgress()) }
  }))
  app.metrics.registry.registerMetric(new Gauge({
    name: 'http_connections',
    help: 'Open connections of clients',
    registers: [],
    async collect () {
      this.set(await new Promise<number>(resolve => app.server.getConnections((_error, count) => resolve(count ?? 0))))
    }
  }))
  app.onRequestEnd(({ method, routeOptions }, { elapsedTime, statusCode }, isAborted) => {
    observe(elapsedTime / 1000, method, routeName(routeOptions.url), isAborted ? ABORTED : statusCode)
  })
}, { name: 'http-metrics', dependencies: ['metrics', 'request-end'] })
