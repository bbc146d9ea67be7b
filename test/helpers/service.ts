import { ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import type { FastifyInstance } from 'fastify'
import tap, { type Test } from 'tap'
import { buildApp, type AppOptions } from '../../app.js'
import type { Config, Env } from '../../schemas/env.js'
import { completeConfig, readConfig } from '../../services/config.js'
import { openApiCheck, type OpenApiDocument } from './openapi-check.js'
import { environment, s3Client, startServices, type Services } from './backends.js'
import { freshPhone, requestContextOf } from './accounts.js'
import { uploadForm } from './multipart.js'
import { PATIENCE } from './patience.js'

export interface CallOptions {
  token?: string
  json?: unknown
  body?: RequestInit['body']
  headers?: Record<string, string>
  signal?: AbortSignal
  duplex?: 'half'
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any
export interface Reply { status: number, headers: Headers, body: any, text: string }

export interface Service {
  app: FastifyInstance
  url: string
  config: Config
  services: Services
  /** Every log line, as text. */
  logs: string[]
  /** The SMS messages that were sent, oldest first. */
  sms: Array<{ to: string, body: string }>
  /**
   * The service's clock; `advance` moves it on. It is far ahead of the database's clock, or TTL indexes would remove
   * rows.
   */
  clock: { now: Date, advance: (seconds: number) => void }
  /** Sends one request over HTTP. Rejects when the answer departs from the OpenAPI document. */
  call: (method: string, path: string, options?: CallOptions) => Promise<Reply>
  /** Signs a phone in, with the code of its SMS. Rejects when either step is refused. */
  signIn: (phone?: string) => Promise<{ phone: string, token: string }>
  /** An access token of a new session, opened without a code. */
  tokenFor: (phone: string) => Promise<string>
  /** The code of the last SMS to a phone. */
  lastCode: (phone: string) => string
  /** Uploads one file, with `user_id` unless `fields` says otherwise. */
  upload: (
    token: string,
    file: Uint8Array,
    options?: { filename?: string, fields?: Record<string, string> }
  ) => Promise<Reply>
  /** The contents of the bucket and of the collections that an upload writes to. */
  remains: () => Promise<{ objects: string[], multipartUploads: string[], uploads: number, library: number }>
}

/** Seconds after which an upload that did not end is stale: its longest time, the sweeper's margin, and one. */
export const staleAfterSeconds = ({ UPLOAD_MAX_SECONDS }: Config) => UPLOAD_MAX_SECONDS + 60 + 1

/** Secrets that a log held. They fail the file in its last teardown, because an error skips those still to come. */
const leaks: string[] = []
tap.teardown(() => { if (leaks.length > 0) throw new Error(leaks.join('\n')) })

export interface ServiceOptions extends Partial<AppOptions> { env?: Record<string, string>, services?: Services }

/** A test that takes long would meet later ones, which ask the database and remove things. */
const ONE_SWEEP = { SWEEP_INTERVAL_SECONDS: '0' }

/**
 * Starts the production app on a free port of loopback, with its own database and bucket and a clock that the test
 * sets. SMS messages are kept, not sent. It closes when `t` ends.
 */
export async function startService (t: Test, { env, ...options }: ServiceOptions = {}): Promise<Service> {
  const services = options.services ?? await startServices(t)
  const config = completeConfig(readConfig({ ...environment(services), ...ONE_SWEEP, ...env }) as Env, {})
  const logs: string[] = []
  const sms: Service['sms'] = []
  const clock = {
    now: new Date('2126-05-04T10:00:00.000Z'),
    advance: (seconds: number) => { clock.now = new Date(clock.now.getTime() + seconds * 1000) }
  }
  const app = await buildApp({
    config,
    now: () => clock.now,
    sendSms: async message => { sms.push(message) },
    ...PATIENCE,
    logger: { level: 'info', stream: { write: (line: string) => { logs.push(line) } } },
    ...options
  })
  t.teardown(async () => {
    await app.close()
    const warnings = warningsIn(logs)
    if (!t.passing() && warnings) console.error(`${t.fullname}: warnings and errors of the service:\n${warnings}`)
    const leak = leakIn(logs, {
      codes: sms.flatMap(({ body }) => /\b\d{6}\b/.exec(body)?.[0] ?? []),
      secrets: [config.JWT_SECRET_KEY!, config.OTP_SECRET, services.s3.secretAccessKey]
    })
    if (leak) leaks.push(`${t.fullname}: the log holds ${leak}`)
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const check = openApiCheck(app.swagger() as unknown as OpenApiDocument)
  const client = s3Client(services)
  t.teardown(() => client.destroy())

  const service: Service = {
    app,
    url,
    config,
    services,
    logs,
    sms,
    clock,
    async call (method, path, { token, json, body, headers, ...rest } = {}) {
      const response = await fetch(url + path, {
        method,
        headers: {
          ...(token && { authorization: `Bearer ${token}` }),
          ...(json !== undefined && { 'content-type': 'application/json' }),
          ...headers
        },
        body: json === undefined ? body : JSON.stringify(json),
        ...rest
      })
      const text = await response.text()
      const contentType = response.headers.get('content-type')
      const reply: Reply = {
        status: response.status,
        headers: response.headers,
        text,
        body: contentType?.startsWith('application/json') && text !== '' ? JSON.parse(text) : text
      }
      const fault = check({ method, path, status: reply.status, contentType, body: reply.body })
      if (fault) {
        throw new Error(`${method} ${path} answered against the OpenAPI document: ${fault}\n${reply.status} ${text}`)
      }
      return reply
    },
    async signIn (phone = freshPhone()) {
      const asked = await service.call('POST', '/auth/request-otp', { json: { phone } })
      if (asked.status !== 200) throw new Error(`request of a code for ${phone}: ${asked.status} ${asked.text}`)
      const json = { phone, otp: service.lastCode(phone) }
      const { status, body, text } = await service.call('POST', '/auth/verify-otp', { json })
      if (body.success !== true) throw new Error(`sign-in of ${phone}: ${status} ${text}`)
      return { phone, token: body.access_token }
    },
    async tokenFor (phone) {
      const opened = await app.sessions.open(phone, requestContextOf(app))
      return app.issueToken(opened!).token
    },
    lastCode: phone =>
      /\d{6}/.exec(sms.findLast(({ to, body }) => to === phone && /\d{6}/.test(body))?.body ?? '')?.[0] ?? '',
    upload (token, file, options) {
      return service.call('POST', '/library/upload', { token, body: uploadForm(file, options) })
    },
    async remains () {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: services.s3.bucket }))
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: services.s3.bucket }))
      return {
        objects: Contents.map(({ Key }) => Key!),
        multipartUploads: Uploads.map(({ Key }) => Key!),
        uploads: await app.collections.uploads.countDocuments(UPLOAD_RECORDS),
        library: await app.collections.library.countDocuments()
      }
    }
  }
  return service
}

/** The folders of these keys, once each: an item's original and renditions share one. */
export const foldersOf = (keys: string[]) => [...new Set(keys.map(key => key.slice(0, key.lastIndexOf('/') + 1)))]

/** Upload records, without the notes of what the store may still finish, which wait for a sweep. */
export const UPLOAD_RECORDS = { $nor: [{ state: 'removing' as const, owner: { $exists: false } }] }

/** The last warnings and errors, for a person who looks for the cause of a failed test. */
const warningsIn = (logs: string[]) => logs.filter(line => /"level":[4-6]0/.test(line)).slice(-20).join('')

/** The kind of secret that a log holds; undefined for none. The process id and the times of a line are skipped. */
function leakIn (logs: string[], { codes, secrets }: { codes: string[], secrets: string[] }): string | undefined {
  const text = logs.join('').replace(/"(pid|time|ms)":\d+/g, '')
  const token = /eyJ[\w-]{8,}\.[\w-]+|\b[0-9a-f]{24}\.\d+\.[\w-]{43}/.exec(text)
  const number = /\+\d{8,15}/.exec(text)
  const code = codes.find(code => new RegExp(`(?<![\\w.-])${code}(?![\\w.-])`).test(text))
  if (token || number || code || secrets.some(secret => text.includes(secret))) {
    return token ? 'a token' : number ? 'a whole number' : code ? 'a code' : 'a secret'
  }
}
