import { S3Client } from '@aws-sdk/client-s3'
import { NodeHttpHandler, type NodeHttpHandlerOptions } from '@smithy/node-http-handler'
import fp from 'fastify-plugin'
import type { Config } from '../schemas/env.js'
import { createMediaStore } from '../services/media-store.js'
import type { AppSettings, MediaStore } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyInstance {
    s3: S3Client
    mediaStore: MediaStore
  }
}

/** Milliseconds of silence on a connection after which the store counts as gone. */
const SILENCE_MS = 3500
/** So many times longer for bodies of more than so many bytes. */
const PATIENCE = 2.5
const LARGE_BODY = 256 * 1024

/** `app.s3` and `app.mediaStore`: the bucket is there and may be used. */
export default fp<AppSettings>(async function s3 (app, { storeSilenceMs = SILENCE_MS }) {
  const { config } = app
  const client = new S3Client({
    region: config.S3_REGION,
    ...(config.S3_ENDPOINT && { endpoint: config.S3_ENDPOINT }),
    forcePathStyle: config.S3_FORCE_PATH_STYLE ?? config.S3_ENDPOINT !== undefined,
    ...(config.AWS_ACCESS_KEY_ID && config.AWS_SECRET_ACCESS_KEY && {
      credentials: { accessKeyId: config.AWS_ACCESS_KEY_ID, secretAccessKey: config.AWS_SECRET_ACCESS_KEY, sessionToken: config.AWS_SESSION_TOKEN }
    }),
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 3,
    requestHandler: new PatientHandler({ connectionTimeout: 2000, socketTimeout: storeSilenceMs, httpAgent: { maxSockets: 200 }, httpsAgent: { maxSockets: 200 } })
  })
  client.middlewareStack.add(next => args => next(args).catch(neverRetrySilence), { step: 'deserialize', priority: 'low', name: 'neverRetrySilence' })
  app.addHook('onClose', async () => client.destroy())

  const mediaStore = createMediaStore({ s3: client, bucket: config.S3_BUCKET, publicUrl: publicUrl(config) })
  try {
    await mediaStore.ping()
  } catch (cause) {
    throw new Error('The bucket S3_BUCKET cannot be reached: check that it exists, S3_ENDPOINT, S3_REGION and the credentials', { cause })
  }
  app.decorate('s3', client)
  app.decorate('mediaStore', mediaStore)
}, { name: 's3', dependencies: ['env'] })

/**
 * Gives requests with a large body more time to be silent: what the operating system has taken for sending is progress that nobody here sees,
 * some 4 MB of it, so a store that takes less than a megabyte a second would look dead.
 */
class PatientHandler extends NodeHttpHandler {
  readonly #large: NodeHttpHandler

  constructor (options: NodeHttpHandlerOptions & { socketTimeout: number }) {
    super(options)
    this.#large = new NodeHttpHandler({ ...options, socketTimeout: options.socketTimeout * PATIENCE })
  }

  override handle (...[request, options]: Parameters<NodeHttpHandler['handle']>): ReturnType<NodeHttpHandler['handle']> {
    return Number(request.headers['content-length'] ?? 0) > LARGE_BODY ? this.#large.handle(request, options) : super.handle(request, options)
  }

  override destroy (): void {
    super.destroy()
    this.#large.destroy()
  }
}

/**
 * A store that says nothing is not asked again: whoever waits for an answer would wait for three. (The SDK would ask, if it found its own error as the cause;
 * it gives the same name to a connection that was reset, which has a code and may be tried again.)
 */
function neverRetrySilence (error: unknown): never {
  if (error instanceof Error && error.name === 'TimeoutError' && !('code' in error)) throw new Error('the store did not answer in time')
  throw error
}

function publicUrl ({ S3_PUBLIC_URL, S3_ENDPOINT, S3_BUCKET, S3_REGION, S3_FORCE_PATH_STYLE }: Config): string {
  if (S3_PUBLIC_URL) return S3_PUBLIC_URL.replace(/\/+$/, '')
  if (!S3_ENDPOINT) return `https://${S3_BUCKET}.s3.${S3_REGION}.amazonaws.com`
  const endpoint = new URL(S3_ENDPOINT)
  if (S3_FORCE_PATH_STYLE === false) endpoint.hostname = `${S3_BUCKET}.${endpoint.hostname}`
  const base = endpoint.href.replace(/\/+$/, '')
  return S3_FORCE_PATH_STYLE === false ? base : `${base}/${S3_BUCKET}`
}
