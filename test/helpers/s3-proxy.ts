/**
 * An HTTP proxy that causes faults of S3 operations. It stands before the emulator and before independent
 * servers alike.
 */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Change, listen, pause, pour, reset, slice } from './proxy-flow.js'

export interface S3Request {
  readonly method: string
  /** As sent, still percent-encoded, without the query. */
  readonly path: string
  readonly query: URLSearchParams
  readonly operation: S3Operation
  readonly bucket: string | undefined
  /** Decoded; undefined for requests to a bucket or the service. */
  readonly key: string | undefined
  readonly headers: http.IncomingHttpHeaders
  /** Bytes of the request's body so far. */
  readonly bytes: number
  /** Status of the answer; undefined until there is one. */
  readonly status: number | undefined
}

export type S3Action =
  /** An S3 error document instead of the server's answer, after `after` bytes of the body (default 0: at once). */
  | { do: 'answer', status: number, code: string, after?: number }
  /** 200 with an `<Error>` body, as CompleteMultipartUpload may answer. The request does not reach the server. */
  | { do: 'error200', code: string }
  /** 200 with XML that breaks off. The request does not reach the server. */
  | { do: 'broken' }
  /** An S3 error document of at least this many bytes, as long as the client stays. */
  | { do: 'flood', status: number, bytes: number }
  /** Passes this many bytes of the body to the server, then resets both connections. A shorter body passes. */
  | { do: 'reset', after: number }
  /** The server acts, but its answer is lost: the client's connection is reset. */
  | { do: 'lose' }
  /** Swallows the request and never answers. */
  | { do: 'silence' }
  /** Passes the request on after this many milliseconds. */
  | { do: 'delay', ms: number }
  /** Takes this many bytes of the body a second, by back-pressure. 0: none until `clear`. */
  | { do: 'throttle', bytesPerSecond: number }

export interface S3Fault {
  /** Selects requests. Both must match if both are given; without them every request matches. */
  operation?: S3Operation | readonly S3Operation[]
  match?: (request: S3Request) => boolean
  action: S3Action
  /** How many requests it hits (default: all until `clear`). */
  times?: number
}

export interface S3Proxy {
  readonly host: string
  readonly port: number
  readonly endpoint: string
  /** Every request in the order of arrival. Empty it with `requests.length = 0`. */
  readonly requests: S3Request[]
  /** Adds a fault. The first added fault that matches a request acts. `hit` resolves when a request meets this one. */
  fault (fault: S3Fault): { readonly hits: number, readonly hit: Promise<S3Request> }
  /** Forgets all faults. Throttled and delayed requests go on at full speed; silenced ones are reset. */
  clear (): void
  /** Resets every connection and stops listening. */
  close (): Promise<void>
}

/**
 * A reverse proxy before a path-style S3 server on plain HTTP. Method, target, headers (Host too: SigV4 signs it),
 * `100 Continue`, bodies and trailers pass unchanged and streamed.
 */
export async function s3Proxy (target: { endpoint: string }): Promise<S3Proxy> {
  const { hostname, port: targetPort } = new URL(target.endpoint)
  const agent = new http.Agent({ keepAlive: false }) // a reused connection could be one that the server is closing
  const change = new Change()
  const requests: S3Request[] = []
  const silenced = new Set<Socket>()
  let faults: Array<S3Fault & { left: number, onHit: (request: S3Request) => void }> = []

  const server = http.createServer({ requestTimeout: 0, keepAliveTimeout: 0 }, handle).on('checkContinue', handle)

  async function handle (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const seen = describe(request)
    requests.push(seen)
    request.on('error', () => {})
    response.on('error', () => {})
    const fault = faults.find((each) => each.left > 0 && matches(each, seen))
    if (fault) { fault.left--; fault.onHit(seen) }
    try {
      await act(fault?.action, request, response, seen)
    } catch { reset(request.socket) }
  }

  async function act (
    action: S3Action | undefined,
    request: http.IncomingMessage,
    response: http.ServerResponse,
    seen: Seen
  ): Promise<void> {
    switch (action?.do) {
      case 'answer':
        if (action.after) await swallow(request, response, seen, action.after)
        return answer(seen, response, action.status, errorXml(action.code, seen))
      case 'error200':
        await swallow(request, response, seen)
        return answer(seen, response, 200, errorXml(action.code, seen))
      case 'broken':
        await swallow(request, response, seen)
        return answer(seen, response, 200, `${XML}<${seen.operation}Result><Bucket>`)
      case 'flood':
        await swallow(request, response, seen)
        return await flood(seen, response, action.status, action.bytes)
      case 'silence':
        silenced.add(request.socket)
        request.socket.once('close', () => silenced.delete(request.socket))
        return await swallow(request, response, seen)
      case 'delay':
        await change.orAfter(action.ms)
        break
    }
    await forward(action, request, response, seen)
  }

  async function forward (
    action: S3Action | undefined,
    request: http.IncomingMessage,
    response: http.ServerResponse,
    seen: Seen
  ): Promise<void> {
    if (request.socket.destroyed) return
    const upstream = http.request({
      host: hostname,
      port: targetPort || 80,
      method: request.method,
      path: request.url,
      headers: headersFor(request),
      agent
    })
    upstream.on('error', () => {}).on('continue', () => response.writeContinue())
    response.on('close', () => { if (!response.writableFinished) upstream.destroy() })
    await Promise.all([
      once(upstream, 'response').then(([answered]: http.IncomingMessage[]) => back(action, answered!, response, seen)),
      send(action, request, upstream, seen).catch((error: unknown) => {
        if (!response.headersSent) throw error
        request.resume() // the server answered before it had read the whole body
      })
    ])
  }

  async function send (
    action: S3Action | undefined,
    request: http.IncomingMessage,
    upstream: http.ClientRequest,
    seen: Seen
  ): Promise<void> {
    const cut = action?.do === 'reset' ? action.after : Infinity
    let rate = action?.do === 'throttle' ? action.bytesPerSecond : Infinity
    if (cut > 0) upstream.flushHeaders()
    else return cutOff(request, upstream)
    for await (const chunk of bodyOf(request)) {
      for (let rest = chunk; rest.length > 0;) {
        const piece = rest.subarray(0, Math.min(cut - seen.bytes, slice(rate)))
        if (await change.orAfter(pause(piece.length, rate))) { rate = Infinity; continue }
        await pour(piece, upstream)
        seen.bytes += piece.length
        rest = rest.subarray(piece.length)
        if (seen.bytes >= cut) return cutOff(request, upstream)
      }
    }
    upstream.addTrailers(request.trailers)
    upstream.end()
  }

  async function back (
    action: S3Action | undefined,
    answered: http.IncomingMessage,
    response: http.ServerResponse,
    seen: Seen
  ): Promise<void> {
    if (action?.do === 'lose') {
      await once(answered.resume(), 'end')
      return reset(response.socket)
    }
    seen.status = answered.statusCode
    response.writeHead(answered.statusCode!, answered.statusMessage, answered.rawHeaders)
    for await (const chunk of answered as AsyncIterable<Buffer>) await pour(chunk, response)
    response.addTrailers(answered.trailers)
    response.end()
  }

  await listen(server, 0)
  const { port } = server.address() as AddressInfo

  function clear (): void {
    faults = []
    reset(...silenced)
    change.happened()
  }

  return {
    host: '127.0.0.1',
    port,
    endpoint: `http://127.0.0.1:${port}`,
    requests,
    fault (fault) {
      let hits = 0
      const hit = new Promise<S3Request>((resolve) => {
        faults.push({ ...fault, left: fault.times ?? Infinity, onHit (request) { hits++; resolve(request) } })
      })
      return { get hits () { return hits }, hit }
    },
    clear,
    async close () {
      clear()
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      agent.destroy()
      await closed
    }
  }
}

export type S3Operation = 'ListBuckets' | 'HeadBucket' | 'CreateBucket' | 'DeleteBucket' | 'GetBucketPolicy' | 'PutBucketPolicy' | 'DeleteBucketPolicy' |
  'ListObjects' | 'ListObjectsV2' | 'ListMultipartUploads' | 'DeleteObjects' | 'PostObject' |
  'GetObject' | 'HeadObject' | 'PutObject' | 'CopyObject' | 'DeleteObject' |
  'CreateMultipartUpload' | 'UploadPart' | 'UploadPartCopy' | 'CompleteMultipartUpload' | 'AbortMultipartUpload' | 'ListParts' | 'Other'

type Row = [parameter: string | undefined, S3Operation]

// For a level and a method, the first row whose query parameter is there (or undefined) names the operation.
const operations: Record<'service' | 'bucket' | 'key', Record<string, Row[]>> = {
  service: { GET: [[undefined, 'ListBuckets']] },
  bucket: {
    HEAD: [[undefined, 'HeadBucket']],
    GET: [
      ['policy', 'GetBucketPolicy'],
      ['uploads', 'ListMultipartUploads'],
      ['list-type', 'ListObjectsV2'],
      [undefined, 'ListObjects']
    ],
    PUT: [['policy', 'PutBucketPolicy'], [undefined, 'CreateBucket']],
    DELETE: [['policy', 'DeleteBucketPolicy'], [undefined, 'DeleteBucket']],
    POST: [['delete', 'DeleteObjects'], [undefined, 'PostObject']]
  },
  key: {
    HEAD: [[undefined, 'HeadObject']],
    GET: [['uploadId', 'ListParts'], [undefined, 'GetObject']],
    PUT: [['partNumber', 'UploadPart'], [undefined, 'PutObject']],
    DELETE: [['uploadId', 'AbortMultipartUpload'], [undefined, 'DeleteObject']],
    POST: [['uploads', 'CreateMultipartUpload'], ['uploadId', 'CompleteMultipartUpload']]
  }
}

const subresources = [
  'accelerate',
  'acl',
  'attributes',
  'cors',
  'encryption',
  'legal-hold',
  'lifecycle',
  'location',
  'logging',
  'notification',
  'object-lock',
  'ownershipControls',
  'policyStatus',
  'publicAccessBlock',
  'replication',
  'requestPayment',
  'restore',
  'retention',
  'tagging',
  'torrent',
  'versioning',
  'versions',
  'website'
]

/** Names the S3 operation of a path-style request, as the S3 API reference does. `Other` stands for the rest. */
export function operationOf (method: string, target: string, headers: http.IncomingHttpHeaders = {}): S3Operation {
  const { bucket, key, query } = address(target)
  if (subresources.some((name) => query.has(name))) return 'Other'
  const level = key !== undefined ? 'key' : bucket !== undefined ? 'bucket' : 'service'
  const operation =
    operations[level][method]?.find(([parameter]) => parameter === undefined || query.has(parameter))?.[1] ?? 'Other'
  const copies = headers['x-amz-copy-source'] !== undefined
  return copies && operation === 'PutObject'
    ? 'CopyObject'
    : copies && operation === 'UploadPart' ? 'UploadPartCopy' : operation
}

const XML = '<?xml version="1.0" encoding="UTF-8"?>\n'

type Seen = { -readonly [member in keyof S3Request]: S3Request[member] }

function describe (request: http.IncomingMessage): Seen {
  const { method = '', url = '/', headers } = request
  return { method, ...address(url), operation: operationOf(method, url, headers), headers, bytes: 0, status: undefined }
}

function address (target: string): Pick<S3Request, 'path' | 'query' | 'bucket' | 'key'> {
  const [path = '/', query] = target.split(/\?(.*)/s)
  const [, bucket, ...key] = path.split('/')
  return {
    path,
    query: new URLSearchParams(query),
    bucket: bucket || undefined,
    key: decode(key.join('/')) || undefined
  }
}

function decode (text: string): string {
  try { return decodeURIComponent(text) } catch { return text }
}

function matches ({ operation, match }: S3Fault, request: S3Request): boolean {
  return (operation === undefined || [operation].flat().includes(request.operation)) &&
    (match === undefined || match(request))
}

function errorXml (code: string, { path }: S3Request): string {
  return `${XML}<Error><Code>${code}</Code><Message>A fault on demand</Message><Resource>${path.replaceAll('&', '&amp;')}</Resource><RequestId>FAULT</RequestId></Error>`
}

function answer (seen: Seen, response: http.ServerResponse, status: number, xml: string): void {
  seen.status = status
  response.writeHead(status, {
    'content-type': 'application/xml',
    'content-length': Buffer.byteLength(xml),
    'x-amz-request-id': 'FAULT',
    // A client that waits for 100 Continue now never sends its body, so nothing can follow on this connection.
    ...(response.req.headers.expect && !seen.bytes && { connection: 'close' })
  }).end(xml)
}

async function flood (seen: Seen, response: http.ServerResponse, status: number, bytes: number): Promise<void> {
  seen.status = status
  response.writeHead(status, { 'content-type': 'application/xml' }).write(
    `${XML}<Error><Code>AccessDenied</Code><Message>`
  )
  const piece = Buffer.alloc(256 * 1024, 'x')
  for (let sent = 0; sent < bytes && !response.destroyed; sent += piece.length) await pour(piece, response)
  response.end('</Message></Error>')
}

async function swallow (
  request: http.IncomingMessage,
  response: http.ServerResponse,
  seen: Seen,
  bytes = Infinity
): Promise<void> {
  if (request.headers.expect) response.writeContinue()
  for await (const chunk of bodyOf(request)) {
    seen.bytes += chunk.length
    if (seen.bytes >= bytes) return
  }
}

const bodyOf = (request: http.IncomingMessage): AsyncIterable<Buffer> => request.iterator({ destroyOnReturn: false })

/** All headers as they came. Without any length it adds one, or Node would send a chunked body. */
function headersFor ({ headers, rawHeaders }: http.IncomingMessage): string[] {
  const sized = 'content-length' in headers || 'transfer-encoding' in headers
  return sized ? rawHeaders : [...rawHeaders, 'Content-Length', '0']
}

function cutOff (request: http.IncomingMessage, upstream: http.ClientRequest): void {
  upstream.destroy()
  reset(request.socket)
}
