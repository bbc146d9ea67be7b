import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import { opened } from '../data-file/data-file.js'
import { HOST, s3Endpoint } from './address.js'
import { secondsNow, type Settings } from './call.js'
import { handle } from './handler.js'
import { formerPublicReadPolicy, publicReadPolicy } from './policy.js'
import { Store } from './store.js'
import { xmlDocument } from './xml.js'

export interface S3Options {
  /** A folder that only this server uses. */
  path: string
  /** Without it, any free port. */
  port?: number
  bucket?: string
  region?: string
  credentials: { accessKeyId: string, secretAccessKey: string }
  now?: () => Date
  /** False for tests: writes survive the end of the process, not that of the machine. */
  isDurable?: boolean
}

export interface S3Server {
  port: number
  endpoint: string
  /** Cuts open requests and resolves when nothing is open any more. */
  close: () => Promise<void>
}

const HEADERS_TIMEOUT_MS = 60_000
const IDLE_TIMEOUT_MS = 120_000
const KEEP_ALIVE_MS = 65_000
const MAX_HEADER_BYTES = 16 * 1024

/**
 * Starts an S3 server on one folder. It has one account, which the credentials open, and a bucket with a public
 * library. All acknowledged data is on disk. Rejects when the port is taken, before it touches the folder. Two servers
 * must not share a folder.
 */
export async function startS3 (options: S3Options): Promise<S3Server> {
  const { path, port = 0, bucket = 'hookaba', region = 'us-east-1', credentials } = options
  const { now = () => new Date(), isDurable = true } = options
  const server = createServer({
    headersTimeout: HEADERS_TIMEOUT_MS,
    // Uploads may take long: a connection is closed when it is silent, not when it is slow.
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
    noDelay: true
  })
  server.timeout = IDLE_TIMEOUT_MS
  await listen(server, port)

  const running = new Set<Promise<void>>()
  const settings: Settings = { region, now, credentials }
  // No request can arrive between here and the end of this turn of the event loop.
  const store = openStore(server, path, isDurable)
  store.createBucket({
    name: bucket,
    createdAt: secondsNow(settings),
    policy: publicReadPolicy(bucket)
  })
  if (store.findBucket(bucket)?.policy === formerPublicReadPolicy(bucket)) {
    store.setPolicy(bucket, publicReadPolicy(bucket))
  }
  for (const event of ['request', 'checkContinue', 'checkExpectation'] as const) {
    server.on(event, (request, response) => {
      const work = handle(request, response, store, settings).finally(() => { running.delete(work) })
      running.add(work)
    })
  }
  server.on('clientError', refuse)

  const { port: bound } = server.address() as AddressInfo
  let closing: Promise<void> | undefined
  async function close (): Promise<void> {
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
    await Promise.all(running)
    await store.close()
  }
  return {
    port: bound,
    endpoint: s3Endpoint(bound),
    close: async () => await (closing ??= close())
  }
}

async function listen (server: Server, port: number): Promise<void> {
  try {
    const listening = once(server, 'listening')
    server.listen(port, HOST)
    await listening
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    throw Object.assign(
      new Error(`The embedded S3 server cannot listen: port ${port} on ${HOST} is taken`, { cause: error }),
      { code: 'EADDRINUSE' }
    )
  }
}

function openStore (server: Server, path: string, isDurable: boolean): Store {
  try {
    return opened(join(path, 'meta'), () => new Store(path, isDurable))
  } catch (error) {
    server.close()
    throw error
  }
}

/** Answers bytes that are no HTTP request (RFC 9112 §2.2) and closes the connection. */
function refuse (error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request'
  const body = xmlDocument('Error', { Code: 'BadRequest', Message: 'The HTTP request could not be parsed.' }, false)
  const headers = `Content-Type: application/xml\r\nContent-Length: ${body.length}\r\nConnection: close\r\n`
  socket.end(`HTTP/1.1 ${status}\r\n${headers}\r\n${body}`)
}
