import fp from 'fastify-plugin'
import { createLibrary } from '../services/library/library.js'
import { onWrite } from '../services/on-write.js'

declare module 'fastify' {
  interface FastifyInstance {
    library: ReturnType<typeof createLibrary>
  }
}

/** `app.library`: the items, in pages and one by one. Every write through `app.collections` resets its totals. */
export default fp(async function library (app) {
  const { collections, config, mediaStore: media, mongo, log } = app
  const service = createLibrary({
    db: mongo.db!,
    library: collections.library,
    withDedicatedConnection: (milliseconds, work) => app.withDedicatedConnection(milliseconds, db =>
      work(db.collection('library'))),
    media,
    log,
    urlRendition: config.LIBRARY_URL_RENDITION
  })
  onWrite(collections.library, service.changed)
  app.decorate('library', service)
  app.addHook('onReady', async () => service.start())
  app.addHook('onClose', async () => service.close())
}, { name: 'library', dependencies: ['env', 'mongo', 's3'] })
