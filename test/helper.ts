import { randomBytes, randomInt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutBucketPolicyCommand,
  S3Client
} from '@aws-sdk/client-s3'
import type { FastifyInstance } from 'fastify'
import { ObjectId, type Collection, type Document, type OptionalUnlessRequiredId } from 'mongodb'
import type { Test } from 'tap'
import { buildApp, type AppOptions } from '../app.js'
import type { AuditDocument, UserDocument } from '../schemas/documents.js'
import type { Config, Env } from '../schemas/env.js'
import { completeConfig, readConfig } from '../services/config.js'
import { maskPhone } from '../services/phone.js'
import type { RequestContext } from '../services/ports.js'
import { openApiCheck, type OpenApiDocument } from './openapi.js'

export interface Services {
  mongoUri: string
  s3: { endpoint: string, region: string, accessKeyId: string, secretAccessKey: string, bucket: string }
}

/**
 * Makes a database and a bucket for this test, on the servers that MONGO_URI and S3_ENDPOINT name, else on the embedded
 * stand-ins. They are removed when `t` ends.
 */
export async function startServices (t: Test): Promise<Services> {
  const name = `hookaba-test-${randomBytes(5).toString('hex')}`
  const path = await mkdtemp(join(tmpdir(), `${name}-`))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  const base = process.env.MONGO_URI ?? await embeddedMongo(t, path)
  const mongo = new URL(base)
  mongo.pathname = `/${name}`
  const s3 = await startS3(t, path)
  const client = s3Client({ mongoUri: '', s3: { ...s3, bucket: name } })
  await client.send(new CreateBucketCommand({ Bucket: name }))
  await client.send(new PutBucketPolicyCommand({
    Bucket: name,
    Policy: JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        { Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: `arn:aws:s3:::${name}/library/*` }
      ]
    })
  }))
  t.teardown(() => emptyAndDelete(client, name))
  return { mongoUri: mongo.href, s3: { ...s3, bucket: name } }
}

async function embeddedMongo (t: Test, path: string): Promise<string> {
  const { startMongo } = await import('../packages/mongo-emulator/server.js')
  const server = await startMongo({ path: join(path, 'mongo') })
  t.teardown(server.close)
  return server.uri
}

async function startS3 (t: Test, path: string): Promise<Omit<Services['s3'], 'bucket'>> {
  const {
    S3_ENDPOINT: endpoint,
    S3_REGION: region = 'us-east-1',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey
  } = process.env
  if (endpoint && accessKeyId && secretAccessKey) return { endpoint, region, accessKeyId, secretAccessKey }
  const { startS3: start } = await import('../packages/s3-emulator/server.js')
  const credentials = { accessKeyId: 'test', secretAccessKey: randomBytes(20).toString('hex') }
  const server = await start({ path: join(path, 's3'), credentials })
  t.teardown(server.close)
  return { endpoint: server.endpoint, region: 'us-east-1', ...credentials }
}

export const s3Client = ({ s3: { endpoint, region, accessKeyId, secretAccessKey } }: Services) => new S3Client({
  endpoint,
  region,
  credentials: { accessKeyId, secretAccessKey },
  forcePathStyle: true,
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED'
})

async function emptyAndDelete (client: S3Client, Bucket: string): Promise<void> {
  for (;;) {
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }))
    if (Contents.length === 0) break
    await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: Contents.map(({ Key }) => ({ Key })) } }))
  }
  await client.send(new DeleteBucketCommand({ Bucket }))
  client.destroy()
}

/** The environment of a service that uses `services`, as an operator would write it. */
export function environment ({ mongoUri, s3 }: Services): Record<string, string> {
  return {
    NODE_ENV: 'test',
    MONGO_URI: mongoUri,
    S3_ENDPOINT: s3.endpoint,
    S3_BUCKET: s3.bucket,
    S3_REGION: s3.region,
    AWS_ACCESS_KEY_ID: s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    JWT_SECRET_KEY: 'wS1zUu3hW6vX0yQ9kD2fB7nM4pL8rT5c',
    OTP_SECRET: 'Hq7Vn2Zx9Lk4Jf1Gs8Da3Pe6Rt0Yw5Ub',
    LIMIT_SMS_PER_ADDRESS: '0', // all tests share one address; tests of the limits set their own
    LIMIT_FAILURES_PER_ADDRESS: '0'
  }
}

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
  /** Signs a phone in, with the code of its SMS. */
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

/** The file that `npm run build` makes: a thread would take seconds to compile the source. */
export const pictureProgram = new URL('../dist/services/pictures/worker.js', import.meta.url)

let nextPhone = randomInt(1_000_000) * 100
/** A possible Indian mobile number that is new in this process. */
export const freshPhone = () => `+9198${String(nextPhone++ % 100_000_000).padStart(8, '0')}`

export interface ServiceOptions extends Partial<AppOptions> { env?: Record<string, string>, services?: Services }

/** The claims of a token. The signature is not checked. */
export const claimsOf = (token: string): {
  sub: string
  sid: string
  iat: number
  exp: number
} => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())

/**
 * Starts the production app on a free port of loopback, with its own database and bucket and a clock that the test
 * sets. SMS messages are kept, not sent. It closes when `t` ends.
 */
export async function startService (t: Test, { env, ...options }: ServiceOptions = {}): Promise<Service> {
  const services = options.services ?? await startServices(t)
  const config = completeConfig(readConfig({ ...environment(services), ...env }) as Env, {})
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
    pictureProgram,
    logger: { level: 'info', stream: { write: (line: string) => { logs.push(line) } } },
    ...options
  })
  t.teardown(async () => {
    await app.close()
    const leak = leakIn(logs, {
      codes: sms.flatMap(({ body }) => /\b\d{6}\b/.exec(body)?.[0] ?? []),
      secrets: [config.JWT_SECRET_KEY!, config.OTP_SECRET, services.s3.secretAccessKey]
    })
    if (leak) failProcess(`${t.fullname}: the log holds ${leak}`)
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
      await service.call('POST', '/auth/request-otp', { json: { phone } })
      const { body } = await service.call('POST', '/auth/verify-otp', { json: { phone, otp: service.lastCode(phone) } })
      return { phone, token: body.access_token }
    },
    async tokenFor (phone) {
      const opened = await app.sessions.open(phone, requestContextOf(app))
      return app.issueToken(opened!).token
    },
    lastCode: phone =>
      /\d{6}/.exec(sms.findLast(({ to, body }) => to === phone && /\d{6}/.test(body))?.body ?? '')?.[0] ?? '',
    upload (token, file, { filename = 'picture', fields = { user_id: 'meera' } } = {}) {
      const form = new FormData()
      for (const [name, value] of Object.entries(fields)) form.append(name, value)
      form.append('file', new Blob([file]), filename)
      return service.call('POST', '/library/upload', { token, body: form })
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

/** Fails the test file. An error thrown here would skip the teardowns that are still to come. */
function failProcess (message: string): void {
  process.stderr.write(`${message}\n`)
  process.once('exit', () => { process.exitCode = 1 })
}

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

/** The request context of a caller on this machine. It records nothing. */
export const requestContextOf = ({ log }: FastifyInstance): RequestContext => ({
  address: '127.0.0.1',
  userAgent: 'test',
  log,
  record () {}
})

/** The audit rows of a phone and of the account that has it now, newest first. */
export async function auditOf ({ audit, collections }: FastifyInstance, phone: string): Promise<AuditDocument[]> {
  await audit.flush()
  const account = await collections.users.findOne({ number: phone })
  return collections.audit
    .find({ $or: [{ phone: maskPhone(phone) }, ...(account ? [{ account: account._id }] : [])] })
    .sort({ at: -1 })
    .toArray()
}

/** A row of `users`, with the members that every row has. */
export const userRow = (more: Partial<UserDocument>): UserDocument =>
  ({
    _id: new ObjectId(),
    schema: 2,
    admin: false,
    sessions: [],
    created_on: new Date('2126-05-04T10:00:00.000Z'),
    ...more
  })

/** A number whose account has a name, so that a further sign-in ends no other session. */
export async function namedPhone ({ collections }: FastifyInstance): Promise<string> {
  const number = freshPhone()
  await collections.users.insertOne(userRow({ number, username: `user ${number}`, username_key: `user ${number}` }))
  return number
}

/**
 * Inserts many rows, 100 at a time: a slow database takes longer for all of them than the service waits for one
 * command.
 */
export async function insertRows <Row extends Document> (collection: Collection<Row>, rows: Row[]): Promise<void> {
  for (let i = 0; i < rows.length; i += 100) {
    await collection.insertMany(rows.slice(i, i + 100) as Array<OptionalUnlessRequiredId<Row>>)
  }
}

/** The id of the account that has a number now. */
export async function accountOf ({ collections }: FastifyInstance, number: string): Promise<ObjectId> {
  return (await collections.users.findOne({ number }))!._id
}

/** Resolves with the first truthy result of `probe`. Rejects after 20 s. */
export async function eventually<T> (probe: () => Promise<T> | T): Promise<Exclude<T, false | undefined | null>> {
  const giveUp = Date.now() + 20_000
  for (;;) {
    const value = await probe()
    if (value) return value as Exclude<T, false | undefined | null>
    if (Date.now() > giveUp) throw new Error('it did not happen')
    await new Promise(resolve => setTimeout(resolve, 25))
  }
}
