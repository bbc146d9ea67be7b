import fp from 'fastify-plugin'
import { Histogram } from 'prom-client'
import type { AppSettings, MediaStore } from '../services/ports.js'
import { connectStore } from '../services/store/connection.js'

declare module 'fastify' {
  interface FastifyInstance {
    mediaStore: MediaStore
  }
}

/** Seconds, from a small object to a large one over a slow line. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** `app.mediaStore`: the bucket exists and may be used. */
export default fp<AppSettings>(async function s3 (app, { storeSilenceMs }) {
  const duration = new Histogram({
    name: 'hookaba_store_call_duration_seconds',
    help: 'Calls of the media store with their retries, by operation and outcome',
    labelNames: ['operation', 'outcome'],
    buckets: BUCKETS,
    registers: [app.metrics.registry]
  })
  const { client, mediaStore } = await connectStore(app.config, {
    silenceMs: storeSilenceMs,
    onCall: (operation, outcome, seconds) => duration.observe({ operation, outcome }, seconds),
    inSpan: app.inSpan
  })
  app.addHook('onClose', async () => client.destroy())
  app.decorate('mediaStore', mediaStore)
}, { name: 's3', dependencies: ['env', 'metrics', 'tracing'] })
