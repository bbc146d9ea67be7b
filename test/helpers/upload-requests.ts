import { once } from 'node:events'
import http from 'node:http'
import { field, file, form, FORM_TYPE } from './multipart.js'
import { gif } from './small-pictures.js'
import { countUploads } from './items.js'
import { eventually } from './wait.js'
import type { Reply, Service } from './service.js'
import { openApiCheck, type OpenApiDocument } from './openapi-check.js'

export const KIB = 1024

export const MIB = 1024 * KIB

export type Answer = Pick<Reply, 'status' | 'body'>

export const refusal = (status: number, error: string): Answer => ({ status, body: { error } })

export const tooLarge = (limit: number) => refusal(413, `File is larger than ${limit} bytes`)

export const user = field('user_id', 'meera')

export const picture = file(gif)

export const zeros = Buffer.alloc(256 * KIB)

export const requestHead = (token: string, headers: Record<string, string | number>) => [
  'POST /library/upload HTTP/1.1',
  ...Object.entries({ Host: 'x', Authorization: `Bearer ${token}`, 'Content-Type': FORM_TYPE, ...headers }).map(
    ([name, value]) => `${name}: ${value}`
  ),
  '',
  ''
].join('\r\n')

export function open (
  { url }: { url: string },
  token: string,
  headers: http.OutgoingHttpHeaders = {}
): http.ClientRequest {
  return http
    .request(`${url}/library/upload`, {
      method: 'POST',
      agent: false,
      headers: { authorization: `Bearer ${token}`, 'content-type': FORM_TYPE, ...headers }
    })
    .on('error', () => {})
}

/** Hangs up. Resolves once the service has noticed. */
export async function hangUp ({ app }: Service, request: http.ClientRequest): Promise<void> {
  const connections = () => new Promise<number>((resolve, reject) =>
    app.server.getConnections((error, count) => error ? reject(error) : resolve(count)))
  const before = await eventually(connections)
  request.destroy()
  await eventually(async () => (await connections()) < before)
}

export function pieces (bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size))
}

/** An upload whose upload record exists, and whose file has not ended. */
export async function halfAnUpload (service: Service, token: string): Promise<{
  finish: () => Promise<{ status: number, body: Reply['body'] }>
}> {
  const body = form([user, picture])
  const cut = body.length - 60
  const request = open(service, token)
  const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
    request.on('response', resolve).on('error', reject)
  })
  answered.catch(() => {})
  const before = await countUploads(service)
  request.write(body.subarray(0, cut))
  await eventually(async () => await countUploads(service) === before + 1)
  return {
    async finish () {
      request.end(body.subarray(cut))
      const response = await answered
      return { status: response.statusCode!, body: await json(response) }
    }
  }
}

interface SendOptions {
  agent?: http.Agent
  method?: string
  path?: string
  headers?: Record<string, string | number | undefined>
  signal?: AbortSignal
}

/**
 * Sends one request byte by byte, in chunks unless a length is among its headers. Its answer is checked against the
 * OpenAPI document.
 */
export async function send (
  service: Pick<Service, 'url'> & Partial<Service>,
  token: string,
  body: Array<string | Buffer>,
  { agent, method = 'POST', path = '/library/upload', headers = {}, signal }: SendOptions = {}
) {
  const all = { authorization: `Bearer ${token}`, ...(method === 'POST' && { 'content-type': FORM_TYPE }), ...headers }
  const request = http.request(service.url + path, {
    agent,
    method,
    signal,
    headers: Object.fromEntries(Object.entries(all).filter(([, value]) =>
      value !== undefined)) as http.OutgoingHttpHeaders
  })
  request.setMaxListeners(0)
  const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
    request.on('response', resolve).on('error', reject)
  })
  answered.catch(() => {})
  for (const chunk of body) {
    if (chunk.length > 0 && !request.write(chunk) && !request.destroyed) {
      await Promise.race([once(request, 'drain'), answered.catch(() => {}), once(request, 'close')])
    }
  }
  request.end()
  const response = await answered
  const reply = { status: response.statusCode!, headers: response.headers, body: await json(response) }
  if (service.app) conform(service.app, method, path, reply)
  return reply
}

/** Throws when an answer departs from the OpenAPI document. */
export function conform (
  app: Service['app'],
  method: string,
  path: string,
  { status, headers, body }: { status: number, headers: http.IncomingHttpHeaders, body: unknown }
): void {
  const fault = checkFor(app)({ method, path, status, contentType: headers['content-type'] ?? null, body })
  if (fault) throw new Error(`${method} ${path} answered against the OpenAPI document: ${fault}`)
}

const checks = new WeakMap<Service['app'], ReturnType<typeof openApiCheck>>()

function checkFor (app: Service['app']): ReturnType<typeof openApiCheck> {
  const check = checks.get(app) ?? openApiCheck(app.swagger() as unknown as OpenApiDocument)
  checks.set(app, check)
  return check
}

export async function json (response: http.IncomingMessage): Promise<Reply['body']> {
  const text = Buffer.concat(await response.toArray()).toString()
  return text === '' ? '' : JSON.parse(text)
}
