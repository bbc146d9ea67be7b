import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Counter, Histogram, type Registry } from 'prom-client'
import type { LibraryDocument } from '../schemas/documents.js'
import { isRefusal } from '../services/errors.js'
import type { AppSettings } from '../services/ports.js'
import { createByteBudget } from '../services/uploads/byte-budget.js'
import { createDecode } from '../services/uploads/decode.js'
import { createDirectUploads } from '../services/uploads/direct-upload.js'
import { createIngest } from '../services/uploads/ingest.js'
import { createPublish } from '../services/uploads/publish.js'
import { createQuota } from '../services/uploads/quota.js'
import { createUploadSlots } from '../services/uploads/slots.js'
import { createUploadRecords } from '../services/uploads/upload-records.js'
import { createUploads } from '../services/uploads/upload.js'

declare module 'fastify' {
  interface FastifyInstance {
    uploads: ReturnType<typeof createUploads> & ReturnType<typeof createDirectUploads>
    /** Concurrent uploads that one account may have. */
    maxUploadsAtOnce: number
  }
  interface FastifyContextConfig {
    /**
     * The request ingests a file. 429 beyond the caller's share of uploads, 503 beyond all of them. Authentication
     * comes first.
     */
    isUpload?: boolean
  }
  interface FastifyRequest {
    /** Gives the upload's place back. Null while the request has none. */
    endUpload: (() => void) | null
  }
}

/**
 * Bytes of files that come in or wait to be decoded, of all requests together. Files that are read back have as many
 * again.
 */
const WAITING_BYTES = 48 * 1024 * 1024
/** Seconds. */
const BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
/** Seconds for an upload after its transfer: decoding, and writing the result. */
const MARGIN_SECONDS = 60

/** `app.uploads`: brings files into the library. */
export default fp<AppSettings>(async function uploads (app, { cleanupWaitMs }) {
  const { config, collections, mediaStore: media, ownership, pictures, now } = app
  const limit = config.UPLOAD_MAX_BYTES
  const uploadRecords = createUploadRecords({ ...collections, ownership, media, now, cleanupWaitMs })
  const quota = createQuota({
    ...collections,
    maxBytes: config.UPLOAD_QUOTA_BYTES,
    maxItems: config.UPLOAD_QUOTA_ITEMS,
    claimMs: MARGIN_SECONDS * 1000,
    now
  })
  const counted = countUploads(app.metrics.registry)
  const common = {
    uploadRecords: {
      ...uploadRecords,
      watch: <Item>(upload: Promise<Item>) => uploadRecords.watch(counted(upload))
    },
    ingest: createIngest({
      media,
      limit,
      ...(pictures && { keeping: createByteBudget(WAITING_BYTES) }),
      readingBack: createByteBudget(WAITING_BYTES)
    }),
    decode: createDecode(pictures),
    publish: createPublish({ media, uploadRecords, quota, now }),
    limit,
    now
  }
  app.decorate('uploads', {
    ...createUploads({ ...common, library: collections.library }),
    ...createDirectUploads({ ...common, ...collections, quota, media, lifeSeconds: config.UPLOAD_MAX_SECONDS })
  })
  const slots = createUploadSlots(config.MAX_REQUESTS)
  app.decorate('maxUploadsAtOnce', slots.maxOfOne)
  app.decorateRequest('endUpload', null)
  app.addHook('onRoute', route => {
    if (!route.config?.isUpload) return
    route.onRequest = [
      ...[route.onRequest ?? []].flat(),
      async (request: FastifyRequest) => { request.endUpload = slots.take(request.caller.account._id.toHexString()) }
    ]
    route.onSend = [...[route.onSend ?? []].flat(), async (request: FastifyRequest) => request.endUpload?.()]
  })
  app.addHook('onClose', uploadRecords.close)
}, {
  name: 'uploads',
  dependencies: ['env', 'clock', 'metrics', 'mongo', 's3', 'pictures', 'accounts', 'request-caller']
})

/** Counts and times uploads. A refused upload has no type, because its bytes may be of none. */
function countUploads (registry: Registry) {
  const duration = new Histogram({
    name: 'hookaba_upload_duration_seconds',
    help: 'Uploads until they are an item, by type and outcome; of a direct upload, its completion',
    labelNames: ['type', 'outcome'],
    buckets: BUCKETS,
    registers: [registry]
  })
  const bytes = new Counter({
    name: 'hookaba_upload_bytes_total',
    help: 'Bytes of the files that became items',
    registers: [registry]
  })
  return async function counted<Item> (upload: Promise<Item>): Promise<Item> {
    const end = duration.startTimer()
    try {
      const item = await upload
      const { content_type: contentType = '', size = 0 } = item as LibraryDocument
      end({ type: contentType.replace('image/', ''), outcome: 'stored' })
      bytes.inc(size)
      return item
    } catch (error) {
      end({ type: '', outcome: isRefusal(error) ? 'refused' : 'failed' })
      throw error
    }
  }
}
