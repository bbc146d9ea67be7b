import fp from 'fastify-plugin'
import { listOf } from '../services/config.js'
import { createPictures } from '../services/pictures.js'
import type { AppSettings } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** Undefined where pictures are not decoded. */
    pictures?: ReturnType<typeof createPictures>
  }
}

/** `app.pictures`: what pictures look like, and their renditions. */
export default fp<AppSettings>(async function pictures (app, { images = true }) {
  const { RENDITION_SIZES, RENDITION_MAX_BYTES: maxBytes } = app.config
  app.decorate('pictures', images ? createPictures({ sizes: listOf(RENDITION_SIZES), maxBytes }) : undefined)
}, { name: 'pictures', dependencies: ['env'] })
