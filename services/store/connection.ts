import { Readable } from 'node:stream'
import { S3Client } from '@aws-sdk/client-s3'
import { NodeHttpHandler, type NodeHttpHandlerOptions } from '@smithy/node-http-handler'
import type { Config } from '../../schemas/env.js'
import type { MediaStore } from '../ports.js'
import { storeRefusal } from '../startup-errors.js'
import { createMediaStore } from './media-store.js'

/** Milliseconds of silence on a connection after which the store counts as gone. */
const SILENCE_MS = 3500
/** So many times longer for bodies of more than so many bytes. */
const LARGE_BODY_FACTOR = 2.5
const LARGE_BODY = 256 * 1024
/**
 * An answer that is no object is read into memory, and none of S3's is as long: a list of 1,000 keys has at most some
 * megabytes.
 */
const MAX_DOCUMENT = 8 * 1024 * 1024

type StoreConfig = Pick<Config,
  | 'S3_BUCKET'
  | 'S3_REGION'
  | 'S3_ENDPOINT'
  | 'S3_FORCE_PATH_STYLE'
  | 'S3_PUBLIC_URL'
  | 'AWS_ACCESS_KEY_ID'
  | 'AWS_SECRET_ACCESS_KEY'
  | 'AWS_SESSION_TOKEN'>

/**
 * The media store that the environment names, and the client to destroy after use. Rejects with one clear sentence when
 * the bucket cannot be reached.
 */
export async function connectStore (config: StoreConfig, silenceMs = SILENCE_MS): Promise<{
  client: S3Client
  mediaStore: MediaStore
}> {
  const client = new S3Client({
    region: config.S3_REGION,
    ...(config.S3_ENDPOINT && { endpoint: config.S3_ENDPOINT }),
    forcePathStyle: config.S3_FORCE_PATH_STYLE ?? config.S3_ENDPOINT !== undefined,
    ...(config.AWS_ACCESS_KEY_ID && config.AWS_SECRET_ACCESS_KEY && {
      credentials: {
        accessKeyId: config.AWS_ACCESS_KEY_ID,
        secretAccessKey: config.AWS_SECRET_ACCESS_KEY,
        sessionToken: config.AWS_SESSION_TOKEN
      }
    }),
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 3,
    // whoever asked hears of it; the SDK would write to the console
    logger: { trace () {}, debug () {}, info () {}, warn () {}, error () {} },
    requestHandler: new PatientHandler({
      connectionTimeout: 2000,
      socketTimeout: silenceMs,
      httpAgent: { maxSockets: 200 },
      httpsAgent: { maxSockets: 200 }
    })
  })
  client.middlewareStack.add(next => args => next(args).catch(neverRetrySilence), {
    step: 'deserialize',
    priority: 'low',
    name: 'neverRetrySilence'
  })
  client.middlewareStack.add(next => args => next(unsignedOverTls(args)), { step: 'build', name: 'unsignedOverTls' })
  const mediaStore = createMediaStore({
    s3: client,
    bucket: config.S3_BUCKET,
    publicUrl: publicUrl(config),
    trustworthy: isTrustworthy(config.S3_ENDPOINT),
    silenceMs: silenceMs * LARGE_BODY_FACTOR
  })
  try {
    await mediaStore.ping()
  } catch (cause) {
    client.destroy()
    throw storeRefusal(config, cause)
  }
  return { client, mediaStore }
}

/**
 * Takes no answer that would fill the memory. Gives requests with a large body more time to be silent: what the
 * operating system has taken for sending is progress that nobody here sees,
 * some 4 MB of it, so a store that takes less than a megabyte a second would look dead. A stream is timed where it is
 * read (services/media-store.ts): here the silence of the client,
 * from which it comes, would look like the store's.
 */
class PatientHandler extends NodeHttpHandler {
  readonly #large: NodeHttpHandler
  readonly #streaming: NodeHttpHandler

  constructor (options: NodeHttpHandlerOptions & { socketTimeout: number }) {
    super(options)
    this.#large = new NodeHttpHandler({ ...options, socketTimeout: options.socketTimeout * LARGE_BODY_FACTOR })
    this.#streaming = new NodeHttpHandler({ ...options, socketTimeout: 0 })
  }

  override async handle (...[
    request, options
  ]: Parameters<NodeHttpHandler['handle']>): ReturnType<NodeHttpHandler['handle']> {
    const answer = await this.#answer(request, options)
    const { response } = answer
    if (response.statusCode >= 300 || request.query['x-id'] !== 'GetObject') {
      response.body = Readable.from(atMost(MAX_DOCUMENT, response.body), { objectMode: false })
    }
    return answer
  }

  #answer (...given: Parameters<NodeHttpHandler['handle']>): ReturnType<NodeHttpHandler['handle']> {
    const [{ body, headers }] = given
    if (body instanceof Readable) return this.#streaming.handle(...given)
    return Number(headers['content-length'] ?? 0) > LARGE_BODY ? this.#large.handle(...given) : super.handle(...given)
  }

  override destroy (): void {
    super.destroy()
    this.#large.destroy()
    this.#streaming.destroy()
  }
}

async function * atMost (bytes: number, body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let left = bytes
  for await (const chunk of body) {
    left -= chunk.length
    if (left < 0) throw new Error('the store answers without end')
    yield chunk
  }
}

/**
 * A store that says nothing is not asked again: whoever waits for an answer would wait for three. (The SDK would ask,
 * if it found its own error as the cause;
 * it gives the same name to a connection that was reset, which has a code and may be tried again.)
 */
function neverRetrySilence (error: unknown): never {
  if (error instanceof Error && error.name === 'TimeoutError' && !('code' in error)) {
    throw new Error('the store did not answer in time')
  }
  throw error
}

/**
 * What TLS protects needs no SHA-256 of its own in the signature (`UNSIGNED-PAYLOAD`, Signature Version 4); without TLS
 * bytes are signed.
 */
function unsignedOverTls<T extends { request: unknown }> (args: T): T {
  const {
    protocol,
    body,
    headers
  } = args.request as { protocol: string, body?: unknown, headers: Record<string, string> }
  if (protocol === 'https:' && body !== undefined) headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD'
  return args
}

/** TLS, or a connection that never leaves this machine. */
const isTrustworthy = (endpoint: string | undefined) =>
  endpoint === undefined ||
    endpoint.startsWith('https:') ||
    ['localhost', '127.0.0.1', '[::1]'].includes(new URL(endpoint).hostname)

function publicUrl ({ S3_PUBLIC_URL, S3_ENDPOINT, S3_BUCKET, S3_REGION, S3_FORCE_PATH_STYLE }: StoreConfig): string {
  if (S3_PUBLIC_URL) return S3_PUBLIC_URL.replace(/\/+$/, '')
  if (!S3_ENDPOINT) return `https://${S3_BUCKET}.s3.${S3_REGION}.amazonaws.com`
  const endpoint = new URL(S3_ENDPOINT)
  if (S3_FORCE_PATH_STYLE === false) endpoint.hostname = `${S3_BUCKET}.${endpoint.hostname}`
  const base = endpoint.href.replace(/\/+$/, '')
  return S3_FORCE_PATH_STYLE === false ? base : `${base}/${S3_BUCKET}`
}
