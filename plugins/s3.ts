import fp from 'fastify-plugin'
import type { AppSettings, MediaStore } from '../services/ports.js'
import { connectStore } from '../services/store/connection.js'

declare module 'fastify' {
  interface FastifyInstance {
    mediaStore: MediaStore
  }
}

/** `app.mediaStore`: the bucket exists and may be used. */
export default fp<AppSettings>(async function s3 (app, { storeSilenceMs }) {
  const { client, mediaStore } = await connectStore(app.config, storeSilenceMs)
  app.addHook('onClose', async () => client.destroy())
  app.decorate('mediaStore', mediaStore)
}, { name: 's3', dependencies: ['env'] })
