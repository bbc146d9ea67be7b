import fp from 'fastify-plugin'
import { listOf } from '../services/config.js'
import { createPicturePool } from '../services/pictures/pool.js'
import type { AppSettings } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** Undefined if pictures are not decoded. */
    pictures?: ReturnType<typeof createPicturePool>
  }
}

const WORKER = new URL('../services/pictures/worker.js', import.meta.url)

/** `app.pictures`: the facts of pictures, and their renditions. */
export default fp<AppSettings>(async function pictures (app, { images = true, pictureTimes }) {
  const { RENDITION_SIZES, RENDITION_MAX_BYTES: maxBytes } = app.config
  const pool = images
    ? createPicturePool({ sizes: listOf(RENDITION_SIZES), maxBytes }, WORKER, pictureTimes)
    : undefined
  app.decorate('pictures', pool)
  app.addHook('onClose', async () => pool?.close())
}, { name: 'pictures', dependencies: ['env'] })
