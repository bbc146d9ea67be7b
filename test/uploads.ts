/** Helpers for tests of uploads: requests byte by byte, and a service whose store and database can be made to fail. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import { fileURLToPath } from 'node:url'
import { ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { MongoClient } from 'mongodb'
import type { Test } from 'tap'
import { field, file, FORM_TYPE, gif } from './fixtures.js'
import {
  environment,
  eventually,
  foldersOf,
  UPLOAD_RECORDS,
  s3Client,
  startService,
  startServices,
  type Reply,
  type Service,
  type ServiceOptions,
  type Services
} from './helper.js'
import { openApiCheck, type OpenApiDocument } from './openapi.js'
import { mongoProxy, s3Proxy, tcpProxy } from './proxy.js'

export const KIB = 1024
export const MIB = 1024 * KIB

export type Answer = Pick<Reply, 'status' | 'body'>
export const tooLarge = (limit: number): Answer => ({
  status: 413,
  body: { error: `File is larger than ${limit} bytes` }
})

export const user = field('user_id', 'meera')
export const picture = file(gif)

/** Unhandled rejections in this process. */
export const unhandled: unknown[] = []
process.on('unhandledRejection', reason => unhandled.push(reason))

export const zeros = Buffer.alloc(256 * KIB)

/**
 * Starts the service in a process of its own, on these services. `peak` resolves with the most memory it ever held. It
 * ends with `t`.
 */
export async function forkService (t: Test, services: Services, env: Record<string, string>): Promise<{
  url: string
  token: string
  peak: () => Promise<number>
}> {
  const child = fork(fileURLToPath(new URL('service-process.ts', import.meta.url)), {
    env: { ...process.env, ...environment(services), LOG_LEVEL: 'silent', ...env }
  })
  t.teardown(() => { child.kill() })
  const [{ url, token }] = await once(child, 'message') as [{ url: string, token: string }]
  return {
    url,
    token,
    async peak () {
      child.send('peak')
      const [bytes] = await once(child, 'message')
      return bytes as number
    }
  }
}

export interface FaultBed {
  s3: Awaited<ReturnType<typeof s3Proxy>>
  s3Wire: Awaited<ReturnType<typeof tcpProxy>>
  mongo: Awaited<ReturnType<typeof mongoProxy>>
  /** Connects to the database directly. */
  client: MongoClient
  appName: string
  throughProxies: Services
  /** The services without proxies. */
  services: Services
  start: (options?: ServiceOptions) => Promise<Service>
  empty: Left
  left: () => Promise<Left>
  /** Resolves once nothing is in progress and every object has its item. */
  settled: () => Promise<Left>
}
interface Left { objects: number, multipartUploads: number, uploads: number, library: number }

/** A service with proxies before its store and database, and direct access to both. */
export async function faultBed (t: Test): Promise<FaultBed> {
  const services = await startServices(t)
  const s3 = await s3Proxy({ endpoint: services.s3.endpoint })
  const s3Wire = await tcpProxy({ port: s3.port })
  const mongo = await mongoProxy(services.mongoUri)
  const appName = services.s3.bucket
  const client = await new MongoClient(services.mongoUri).connect()
  const direct = s3Client(services)
  t.teardown(async () => {
    s3.clear()
    await Promise.all([s3Wire.close(), s3.close(), mongo.close(), client.close()])
    direct.destroy()
  })
  const throughProxies = {
    mongoUri: `${mongo.uri}&appName=${appName}`,
    s3: { ...services.s3, endpoint: `http://127.0.0.1:${s3Wire.port}` }
  }
  const Bucket = services.s3.bucket

  const left = async (): Promise<Left> => {
    const { Contents = [] } = await direct.send(new ListObjectsV2Command({ Bucket }))
    const { Uploads = [] } = await direct.send(new ListMultipartUploadsCommand({ Bucket }))
    const [uploads, library] = await Promise.all([
      client.db().collection('uploads').countDocuments(UPLOAD_RECORDS),
      client.db().collection('library').countDocuments()
    ])
    return {
      objects: foldersOf(Contents.map(({ Key }) => Key!)).length,
      multipartUploads: Uploads.length,
      uploads,
      library
    }
  }
  return {
    s3,
    s3Wire,
    mongo,
    client,
    appName,
    throughProxies,
    services,
    start: options => startService(t, { ...options, services: throughProxies }),
    empty: { objects: 0, multipartUploads: 0, uploads: 0, library: 0 },
    left,
    settled: () => eventually(async () => {
      const now = await left()
      return now.uploads === 0 && now.multipartUploads === 0 && now.objects === now.library ? now : undefined
    })
  }
}

/** Asserts a 500 with this sentence and the request id, and nothing internal. */
export function failed (
  t: Test,
  { status, headers, body }: Pick<Reply, 'status' | 'headers' | 'body'>,
  sentence: string
): void {
  t.equal(status, 500)
  t.strictSame(body, {
    error: sentence,
    details: `The request could not be completed. Quote request id ${headers.get('x-request-id')} when you ask about it.`
  })
}

/** The remains; undefined while something is in progress. */
export async function quiet (service: Service): Promise<Awaited<ReturnType<Service['remains']>> | undefined> {
  const remains = await service.remains()
  return remains.uploads === 0 &&
    remains.multipartUploads.length === 0 &&
    foldersOf(remains.objects).length === remains.library
    ? remains
    : undefined
}

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
    .on(
      'error',
      () => {}
    )
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
