import fp from 'fastify-plugin'
import { Gauge, Histogram } from 'prom-client'
import { listOf } from '../services/config.js'
import { isDamage } from '../services/errors.js'
import { createPicturePool } from '../services/pictures/pool.js'
import type { AppSettings, SpanFacts } from '../services/ports.js'

type PicturePool = ReturnType<typeof createPicturePool>

declare module 'fastify' {
  interface FastifyInstance {
    /** Undefined if pictures are not decoded. */
    pictures?: PicturePool
  }
}

/** Seconds. A picture may be decoded for ten seconds, and then encoded. */
const BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const SPAN: SpanFacts = { name: 'read picture', kind: 'internal', isFailure: error => !isDamage(error) }
const WORKER = new URL('../services/pictures/worker.js', import.meta.url)

/** `app.pictures`: the facts of pictures, and their renditions. */
export default fp<AppSettings>(async function pictures (app, { images = true, pictureTimes }) {
  const { RENDITION_SIZES, RENDITION_MAX_BYTES: maxBytes } = app.config
  const pool = images
    ? createPicturePool({ sizes: listOf(RENDITION_SIZES), maxBytes }, WORKER, pictureTimes)
    : undefined
  const duration = new Histogram({
    name: 'hookaba_picture_duration_seconds',
    help: 'Pictures that were decoded and made into renditions, with their wait for a thread, by outcome',
    labelNames: ['outcome'],
    buckets: BUCKETS,
    registers: [app.metrics.registry]
  })
  app.metrics.registry.registerMetric(new Gauge({
    name: 'hookaba_pictures',
    help: 'Pictures that are being decoded, pictures that wait for a thread, and threads at most',
    labelNames: ['state'],
    registers: [],
    collect () {
      const { active, waiting, threads } = pool?.load() ?? { active: 0, waiting: 0, threads: 0 }
      for (const [state, count] of Object.entries({ active, waiting, threads })) this.set({ state }, count)
    }
  }))
  app.decorate('pictures', pool && { ...pool, read: timed(pool.read) })
  app.addHook('onClose', async () => pool?.close())

  function timed (read: PicturePool['read']): PicturePool['read'] {
    return async (...given) => {
      const end = duration.startTimer()
      try {
        const picture = await app.inSpan(SPAN, () => read(...given))
        end({ outcome: 'ok' })
        return picture
      } catch (error) {
        end({ outcome: isDamage(error) ? 'damaged' : 'failed' })
        throw error
      }
    }
  }
}, { name: 'pictures', dependencies: ['env', 'metrics', 'tracing'] })
