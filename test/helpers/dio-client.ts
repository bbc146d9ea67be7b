/**
 * The requests of the released app, byte for byte: it is written in Dart with the package dio, and keeps answers with
 * dio_cache_interceptor. Names of headers are lower case, a form has its fields before its file, and its boundary
 * begins with two dashes of its own.
 */
import { request, type IncomingHttpHeaders } from 'node:http'
import { once } from 'node:events'
import { gunzipSync } from 'node:zlib'

export interface DioAnswer {
  status: number
  headers: IncomingHttpHeaders
  bytes: Buffer
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  body: any
}

const USER_AGENT = 'Dart/3.4 (dart:io)'
const BOUNDARY = '--dio-boundary-2917364850'

export function createDioClient ({ url }: { url: string }) {
  const cache = new Map<string, { etag: string, answer: DioAnswer }>()
  let token: string | undefined
  return { signedIn, post, get, upload, fetchPicture }

  /** Every later request carries this token. */
  function signedIn (accessToken: string): void {
    token = accessToken
  }

  function post (path: string, json: unknown): Promise<DioAnswer> {
    const body = Buffer.from(JSON.stringify(json))
    return send('POST', path, { 'content-type': 'application/json', 'content-length': String(body.length) }, body)
  }

  /** Asks with the entity tag of the kept answer, and gives that on 304, as the cache does. */
  async function get (path: string): Promise<DioAnswer & { fromCache: boolean }> {
    const kept = cache.get(path)
    const answer = await send('GET', path, {
      'content-type': 'application/json', // dio sends it without a body, too
      ...(kept && { 'if-none-match': kept.etag })
    })
    if (answer.status === 304 && kept) return { ...kept.answer, fromCache: true }
    const { etag } = answer.headers
    if (etag !== undefined) cache.set(path, { etag, answer })
    return { ...answer, fromCache: false }
  }

  /** Fields first, then the file, whose type the app does not know. */
  function upload (path: string, fields: Record<string, string>, filename: string, file: Buffer): Promise<DioAnswer> {
    const parts = Object.entries(fields).map(([name, value]) =>
      `--${BOUNDARY}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
    const head = `--${BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="${filename}"\r\n` +
      'content-type: application/octet-stream\r\n\r\n'
    const body = Buffer.concat([Buffer.from(parts.join('') + head), file, Buffer.from(`\r\n--${BOUNDARY}--\r\n`)])
    return send('POST', path, {
      'content-type': `multipart/form-data; boundary=${BOUNDARY}`,
      'content-length': String(body.length)
    }, body)
  }

  async function send (
    method: string,
    path: string,
    more: Record<string, string>,
    body?: Buffer
  ): Promise<DioAnswer> {
    return exchange(url + path, method, {
      'user-agent': USER_AGENT,
      'accept-encoding': 'gzip',
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...more
    }, body)
  }

  /** A picture, without any header of the app. */
  async function fetchPicture (address: string): Promise<Buffer> {
    const { status, bytes } = await exchange(address, 'GET', { 'user-agent': USER_AGENT, 'accept-encoding': 'gzip' })
    if (status !== 200) throw new Error(`${address} answers ${status}`)
    return bytes
  }
}

/** Names and order of the headers go out as given. */
async function exchange (
  address: string,
  method: string,
  headers: Record<string, string>,
  body?: Buffer
): Promise<DioAnswer> {
  const { host } = new URL(address)
  const sent = request(address, { method, headers: [...Object.entries(headers), ['host', host]].flat(), agent: false })
  sent.end(body)
  const [response] = await once(sent, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  const whole = Buffer.concat(chunks)
  const bytes = response.headers['content-encoding'] === 'gzip' ? gunzipSync(whole) : whole
  const isJson = /^application\/json/.test(response.headers['content-type'] ?? '')
  return {
    status: response.statusCode,
    headers: response.headers,
    bytes,
    body: isJson && bytes.length > 0 ? JSON.parse(bytes.toString()) : undefined
  }
}
