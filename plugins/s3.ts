import type { S3Client } from '@aws-sdk/client-s3'
import fp from 'fastify-plugin'
import type { AppSettings, MediaStore } from '../services/ports.js'
import { connectStore } from '../services/store/connection.js'

declare module 'fastify' {
  interface FastifyInstance {
    s3: S3Client
    mediaStore: MediaStore
  }
}

/** `app.s3` and `app.mediaStore`: the bucket exists and may be used. */
export default fp<AppSettings>(async function s3 (app, { storeSilenceMs }) {
  const { client, mediaStore } = await connectStore(app.config, storeSilenceMs)
  app.addHook('onClose', async () => client.destroy())
  app.decorate('s3', client)
  app.decorate('mediaStore', mediaStore)
}, { name: 's3', dependencies: ['env'] })
