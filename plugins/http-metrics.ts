import fp from 'fastify-plugin'
import { Gauge, Histogram } from 'prom-client'
import { routeName } from '../services/route-name.js'

/** Seconds, from a kept page to the longest wait for a provider. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
/** The status of a request whose client left before the answer. No server sends it; nginx logs it so. */
const ABORTED = 499

/** Counts and times requests by method, route and status, and shows how many are in progress. */
export default fp(async function httpMetrics (app) {
  const duration = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Requests, by method, route and status; 499: the client left before the answer',
    labelNames: ['method', 'route', 'status_code'],
    buckets: BUCKETS,
    registers: [app.metrics.registry]
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
    const labels = { method, route: routeName(routeOptions.url), status_code: isAborted ? ABORTED : statusCode }
    duration.observe(labels, elapsedTime / 1000)
  })
}, { name: 'http-metrics', dependencies: ['metrics', 'request-end'] })
