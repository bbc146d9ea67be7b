import { Readable } from 'node:stream'
import { NoSuchKey, S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import { NodeHttpHandler, type NodeHttpHandlerOptions } from '@smithy/node-http-handler'
import type { Config } from '../../schemas/env.js'
import type { InSpan, MediaStore } from '../ports.js'
import { storeRefusal } from '../startup-errors.js'
import { addressesOf, postAddressOf, type AddressConfig } from './addresses.js'
import { createMediaStore } from './media-store.js'

/** Milliseconds of silence on a connection after which the store counts as gone. */
export const SILENCE_MS = 3500
/** The silence may be this many times longer for bodies of more than LARGE_BODY_BYTES bytes. */
const LARGE_BODY_FACTOR = 2.5
const LARGE_BODY_BYTES = 256 * 1024
/**
 * Bytes. An answer that is no object is read into memory. S3's are shorter: a list of 1,000 keys has at most some
 * megabytes.
 */
const MAX_DOCUMENT_BYTES = 8 * 1024 * 1024

/** `refused`: the store answered with an error. `unreachable`: it did not answer. */
type StoreOutcome = 'ok' | 'refused' | 'unreachable'
export type OnStoreCall = (operation: string, outcome: StoreOutcome, seconds: number) => void

interface StoreOptions {
  silenceMs?: number
  onCall?: OnStoreCall
  inSpan?: InSpan
}

type StoreConfig = AddressConfig & Pick<Config, 'AWS_ACCESS_KEY_ID' | 'AWS_SECRET_ACCESS_KEY' | 'AWS_SESSION_TOKEN'>

/**
 * Connects to the media store that the environment names. The caller destroys the client after use. Rejects with one
 * clear sentence if the bucket cannot be reached.
 */
export async function connectStore (
  config: StoreConfig,
  { silenceMs = SILENCE_MS, onCall = () => {}, inSpan = (_facts, work) => work() }: StoreOptions = {}
): Promise<{
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
    // the caller gets every error; the SDK would write to the console
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
  client.middlewareStack.add((next, { commandName = 'unknown' }) => args => {
    const operation = commandName.replace(/Command$/, '')
    const attributes = { 'rpc.system': 'aws-api', 'rpc.method': `S3/${operation}` }
    const isFailure = (error: unknown) => outcomeOf(error) !== 'ok'
    return inSpan({ name: `S3 ${operation}`, kind: 'client', attributes, isFailure }, () =>
      timed(() => next(args), operation, onCall))
  }, { step: 'initialize', name: 'observeCalls' })
  client.middlewareStack.add(next => args => next(unsignedOverTls(args)), { step: 'build', name: 'unsignedOverTls' })
  const mediaStore = createMediaStore({
    s3: client,
    bucket: config.S3_BUCKET,
    addresses: addressesOf(config),
    postAddress: postAddressOf(config),
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

/** That an object is not there is an answer like any other. */
function outcomeOf (error: unknown): StoreOutcome {
  if (error instanceof NoSuchKey) return 'ok'
  return error instanceof S3ServiceException && error.$response !== undefined ? 'refused' : 'unreachable'
}

/** Calls `onCall` when a call ends, with all its retries. The bytes of a streamed answer come later. */
async function timed<T> (call: () => Promise<T>, operation: string, onCall: OnStoreCall): Promise<T> {
  const began = performance.now()
  const end = (outcome: StoreOutcome) => onCall(operation, outcome, (performance.now() - began) / 1000)
  try {
    const answer = await call()
    end('ok')
    return answer
  } catch (error) {
    end(outcomeOf(error))
    throw error
  }
}

/**
 * Refuses an answer that would fill the memory.
 *
 * Refuses every call after `destroy`. The SDK would retry those that `destroy` breaks off, on new connections, while
 * another process already does the work of this one.
 *
 * Allows more silence for a large body: the operating system buffers some 4 MB and sends them unseen by this process,
 * so a store that takes less than a megabyte a second would look dead. A stream is timed where it is read
 * (services/store/media-store.ts), because here the silence of the client would look like the store's.
 */
class PatientHandler extends NodeHttpHandler {
  readonly #large: NodeHttpHandler
  readonly #streaming: NodeHttpHandler
  #isDestroyed = false

  constructor (options: NodeHttpHandlerOptions & { socketTimeout: number }) {
    super(options)
    this.#large = new NodeHttpHandler({ ...options, socketTimeout: options.socketTimeout * LARGE_BODY_FACTOR })
    this.#streaming = new NodeHttpHandler({ ...options, socketTimeout: 0 })
  }

  override async handle (...[
    request, options
  ]: Parameters<NodeHttpHandler['handle']>): ReturnType<NodeHttpHandler['handle']> {
    if (this.#isDestroyed) throw new Error('the connection to the media store is closed')
    const answer = await this.#answer(request, options)
    const { response } = answer
    if (response.statusCode >= 300 || request.query['x-id'] !== 'GetObject') {
      response.body = Readable.from(atMost(MAX_DOCUMENT_BYTES, response.body), { objectMode: false })
    }
    return answer
  }

  #answer (...given: Parameters<NodeHttpHandler['handle']>): ReturnType<NodeHttpHandler['handle']> {
    const [{ body, headers }] = given
    if (body instanceof Readable) return this.#streaming.handle(...given)
    return Number(headers['content-length'] ?? 0) > LARGE_BODY_BYTES ? this.#large.handle(...given) : super.handle(...given)
  }

  override destroy (): void {
    this.#isDestroyed = true
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
 * Prevents a retry after a timeout: the caller would wait for three attempts. The SDK would retry if it found its own
 * error as the cause. It gives the same name to a reset connection, which has a code and may be retried.
 */
function neverRetrySilence (error: unknown): never {
  if (error instanceof Error && error.name === 'TimeoutError' && !('code' in error)) {
    throw new Error('the store did not answer in time')
  }
  throw error
}

/**
 * Sends a body over TLS without its own SHA-256 in the signature (`UNSIGNED-PAYLOAD`, Signature Version 4). Without TLS
 * the body is signed.
 */
function unsignedOverTls<T extends { request: unknown }> (args: T): T {
  const { protocol, body, headers } = args.request as {
    protocol: string,
    body?: unknown,
    headers: Record<string, string>
  }
  if (protocol === 'https:' && body !== undefined) headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD'
  return args
}

/** Whether the connection has TLS or never leaves this machine. */
const isTrustworthy = (endpoint: string | undefined) =>
  endpoint === undefined ||
    endpoint.startsWith('https:') ||
    ['localhost', '127.0.0.1', '[::1]'].includes(new URL(endpoint).hostname)
