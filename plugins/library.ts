import fp from 'fastify-plugin'
import { FROM_PRIMARY } from '../services/database.js'
import { createItemDeletion } from '../services/library/delete-item.js'
import { createLibrary } from '../services/library/library.js'
import { onWrite } from '../services/on-write.js'

declare module 'fastify' {
  interface FastifyInstance {
    library: ReturnType<typeof createLibrary> & ReturnType<typeof createItemDeletion>
  }
}

/** `app.library`: the items, in pages and one by one. Every write through `app.collections` resets its totals. */
export default fp(async function library (app) {
  const { collections, config, mediaStore: media, mongo, roles, now, log } = app
  const service = createLibrary({
    db: mongo.db!,
    library: collections.library,
    withDedicatedConnection: (milliseconds, work) => app.withDedicatedConnection(milliseconds, db =>
      work(db.collection('library', FROM_PRIMARY))),
    media,
    log,
    urlRendition: config.LIBRARY_URL_RENDITION
  })
  onWrite(collections.library, service.changed)
  const deletion = createItemDeletion({ ...collections, media, isAdmin: roles.isAdmin, now })
  app.decorate('library', { ...service, ...deletion })
  app.addHook('onReady', async () => service.start())
  app.addHook('onClose', async () => service.close())
}, { name: 'library', dependencies: ['env', 'clock', 'mongo', 's3', 'roles'] })
