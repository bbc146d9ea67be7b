import { MongoClient } from 'mongodb'
import t from 'tap'
import { MAX_WAIT_MS } from '../services/request-deadline.js'
import { buildApp } from '../app.js'
import { completeConfig, readConfig } from '../services/config.js'
import { uploadForm } from './helpers/multipart.js'
import { gif } from './helpers/small-pictures.js'
import { environment, startServices } from './helpers/backends.js'
import { eventually } from './helpers/wait.js'
import { foldersOf, startService, type CallOptions, type Reply, type Service } from './helpers/service.js'
import { createUser, freshPhone, insertAccount } from './helpers/accounts.js'
import { ok } from './helpers/answers.js'
import { requestCode } from './helpers/codes.js'
import { startFaultySetup } from './helpers/faulty-setup.js'
import { s3Proxy } from './helpers/s3-proxy.js'
import { mongoProxy, tcpProxy } from './helpers/tcp-proxy.js'

const NO_TIME_LIMIT = process.env.TEST_REAL
  ? 'a command that SecantusDB holds back by a fail point does not end at its maxTimeMS'
  : false

t.test(
  'background work may use commands that take longer than a request waits, until the service stops',
  { skip: NO_TIME_LIMIT },
  async t => {
    const { app, services } = await startService(t, { maxDatabaseWaitMs: MAX_WAIT_MS })
    const client = await new MongoClient(services.mongoUri).connect()
    const block = (mode: object | string) => client.db('admin').command({
      configureFailPoint: 'failCommand',
      mode,
      data: { failCommands: ['aggregate'], blockConnection: true, blockTimeMS: 3000 }
    })
    t.teardown(async () => {
      await block('off')
      await client.close()
    })
    await app.sweeper.sweep() // the first count of the items is an aggregate, too
    await block({ times: 1 })
    t.equal(await app.withDedicatedConnection(60_000, db => db.collection('nothing').countDocuments()), 0)
    await block('alwaysOn')
    await t.rejects(app.collections.library.countDocuments(), { message: /exceeded time limit/ })
    const cut = app.withDedicatedConnection(60_000, db => db.collection('nothing').countDocuments())
    cut.catch(() => {})
    await app.close()
    await t.rejects(cut)
  }
)

t.test(
  'every route answers 500 when the database is silent for longer than a request waits, with a patient driver, too',
  async t => {
    const services = await startServices(t)
    const proxy = await mongoProxy(services.mongoUri)
    t.teardown(proxy.close)
    const service = await startService(t, {
      services: { ...services, mongoUri: `${proxy.uri}&socketTimeoutMS=120000` },
      maxDatabaseWaitMs: MAX_WAIT_MS
    })
    const { token, phone } = await service.signIn()
    await ok(service.call('GET', '/library', { token }))
    proxy.throttle(0, 'down')
    const ready = patient(service, 'GET', '/health/ready')
    const answers = await Promise.all([
      patient(service, 'GET', '/library', { token }),
      patient(service, 'GET', '/library?q=fox', { token }),
      patient(service, 'GET', `/library/${'0'.repeat(24)}`, { token }),
      patient(service, 'DELETE', `/library/${'0'.repeat(24)}`, { token }),
      patient(service, 'POST', '/users', { token, json: { username: 'Meera', number: phone } }),
      patient(service, 'POST', '/auth/request-otp', { json: { phone: freshPhone() } }),
      patient(service, 'POST', '/auth/verify-otp', { json: { phone, otp: '123456' } }),
      patient(service, 'POST', '/auth/logout', { token, json: {} }),
      upload(service, token)
    ])
    t.strictSame(answers.map(({ status }) => status), answers.map(() => 500))
    t.match(await ready, { status: 503, body: { error: 'Not ready' } })
    proxy.throttle(Infinity, 'down')
    await eventually(async () => (await service.call('GET', '/health/ready')).status === 200)
    t.equal((await service.call('GET', '/library', { token })).status, 200)
  }
)

t.test(
  'every route answers 503 when the database works on a command for too long, and the database stops working on it',
  { skip: NO_TIME_LIMIT },
  async t => {
    const service = await startService(t, { maxDatabaseWaitMs: MAX_WAIT_MS })
    const { token, phone } = await service.signIn()
    await ok(service.call('GET', '/library', { token }))
    const client = await new MongoClient(service.services.mongoUri).connect()
    const block = (mode: string) => client.db('admin').command({
      configureFailPoint: 'failCommand',
      mode,
      data: {
        failCommands: ['find', 'aggregate', 'insert', 'update', 'delete', 'findAndModify'],
        blockConnection: true,
        blockTimeMS: 60_000
      }
    })
    t.teardown(async () => {
      await block('off')
      await client.close()
    })
    await block('alwaysOn')
    const requests: Array<{ method: string, path: string } & CallOptions> = [
      { method: 'GET', path: '/library', token },
      { method: 'GET', path: '/library?q=dancing+fox', token },
      { method: 'GET', path: `/library/${'0'.repeat(24)}`, token },
      { method: 'DELETE', path: `/library/${'0'.repeat(24)}`, token },
      { method: 'POST', path: '/users', token, json: { username: 'Meera', number: phone } },
      { method: 'GET', path: `/users/${'0'.repeat(24)}`, token },
      { method: 'POST', path: '/auth/request-otp', json: { phone: freshPhone() } },
      { method: 'POST', path: '/auth/verify-otp', json: { phone, otp: '123456' } },
      { method: 'POST', path: '/auth/logout', token, json: {} }
    ]
    await Promise.all(requests.map(async ({ method, path, ...options }) => {
      const { status, body, headers } = await patient(service, method, path, options)
      t.match(
        { status, body, wait: headers.get('retry-after') },
        { status: 503, body: { error: 'Server is busy' }, wait: '5' },
        `${method} ${path}`
      )
    }))
    await block('off')
    t.equal((await service.call('GET', '/library', { token })).status, 200)
  }
)

t.test('the app at its start', async t => {
  const services = await startServices(t)
  const boot = (env: Record<string, string>) => buildApp({
    config: completeConfig(readConfig({ ...environment(services), ...env }), {}),
    logger: { level: 'silent' }
  })

  t.test(
    'the start without its database or its bucket is refused with one sentence that names the variable',
    async t => {
      const silent = await tcpProxy({ port: 1 })
      t.teardown(silent.close)
      silent.blackhole()
      const database = 'MongoDB cannot be reached at MONGO_URI \\(127\\.0\\.0\\.1:\\d+\\)'
      const bucket = 'The bucket S3_BUCKET cannot be reached at S3_ENDPOINT \\([\\w.:]+\\)'
      const noAnswer = 'it (does not answer|cuts the connection)$'
      const cases: Array<{ env: Record<string, string>, subject: string, reason: string }> = [
        { env: { MONGO_URI: 'mongodb://127.0.0.1:1/hookaba' }, subject: database, reason: 'nobody listens there$' },
        { env: { MONGO_URI: `mongodb://127.0.0.1:${silent.port}/hookaba` }, subject: database, reason: noAnswer },
        { env: { S3_ENDPOINT: 'http://127.0.0.1:1' }, subject: bucket, reason: 'nobody listens there$' },
        { env: { S3_ENDPOINT: `http://127.0.0.1:${silent.port}` }, subject: bucket, reason: noAnswer },
        { env: { S3_ENDPOINT: 'http://store.invalid' }, subject: bucket, reason: 'the name' },
        {
          env: { S3_ENDPOINT: services.s3.endpoint.replace('http:', 'https:') },
          subject: bucket,
          reason: 'TLS failed'
        },
        { env: { S3_BUCKET: 'there-is-no-such-bucket' }, subject: bucket, reason: 'the store has no such bucket' },
        { env: { AWS_SECRET_ACCESS_KEY: 'wrong' }, subject: bucket, reason: 'the store refuses the credentials' }
      ]
      await Promise.all(cases.map(({ env, subject, reason }) =>
        t.rejects(boot(env), { message: new RegExp(`^${subject}: ${reason}`) }, Object.keys(env).join())))
    }
  )

  t.test(
    'options of the driver in MONGO_URI hold, whatever their case, and the service\'s own hold for the rest',
    async t => {
      const app = await boot({
        MONGO_URI: `${services.mongoUri}${services.mongoUri.includes('?') ? '&' : '?'}sockettimeoutms=7000&minPoolSize=2&maxPoolSize=3`
      })
      const { socketTimeoutMS, maxPoolSize, waitQueueTimeoutMS } = app.mongo.client.options
      t.strictSame({ socketTimeoutMS, maxPoolSize, waitQueueTimeoutMS }, {
        socketTimeoutMS: 7000,
        maxPoolSize: 3,
        waitQueueTimeoutMS: 4000
      })
      t.equal((await app.inject('/health/ready')).statusCode, 200)
      await app.close()
    }
  )

  t.test('a start with rows that contradict an index is refused, and names the rule', async t => {
    const service = await startService(t, { services })
    const users = service.app.collections.users
    await users.dropIndexes()
    const twin = { username: 'twin', number: freshPhone() }
    for (let i = 0; i < 2; i++) await insertAccount(service, twin)
    await t.rejects(boot({}), {
      message: /^MongoDB at MONGO_URI refuses the index unique_number of the collection users: rows have the same number, for example [0-9a-f]{24} and [0-9a-f]{24} \(\+\*{8}\d{4}\)\./
    })
    await users.deleteMany({ username: 'twin' })
    const again = await boot({})
    t.equal((await again.inject('/health/ready')).statusCode, 200)
    await again.close()
  })
})

const NOT_READY = { status: 503, body: { error: 'Not ready' }, wait: /^[1-9]\d*$/ }
const OUTAGES = [{ outage: 'down', how: 'refuses' }, { outage: 'blackhole', how: 'is silent' }] as const

t.test('an outage of the database or the store', async t => {
  const { s3, s3Wire, mongo, start } = await startFaultySetup(t)
  const service = await start()
  const { token, phone } = await service.signIn()
  const { id } = await createUser(service, { phone, token, username: 'Meera' })

  t.test('many readiness probes at once share one check of the store', async t => {
    s3.requests.length = 0
    const { hit } = s3.fault({ operation: 'HeadBucket', action: { do: 'delay', ms: 300 } })
    const first = service.call('GET', '/health/ready')
    await hit
    const probes = await Promise.all([
      first,
      ...Array.from({ length: 300 }, () => service.call('GET', '/health/ready'))
    ])
    t.ok(probes.every(({ status }) => [200, 503].includes(status)))
    await eventually(async () => (await service.call('GET', '/health/ready')).status === 200, 'readiness')
    t.ok(s3.requests.filter(({ operation }) => operation === 'HeadBucket').length < 30)
  })

  for (const { outage, how } of OUTAGES) {
    t.test(
      `every route answers 500 while the database ${how}, the service is alive but not ready, and all recovers`,
      async t => {
        await mongo[outage]()
        const ready = notReady(service)
        t.match(await patient(service, 'GET', '/health/live'), { status: 200, body: { status: 'ok' } })
        const answers = await Promise.all([
          patient(service, 'POST', '/auth/request-otp', { json: { phone: freshPhone() } }),
          patient(service, 'POST', '/auth/verify-otp', { json: { phone, otp: '123456' } }),
          patient(service, 'POST', '/users', { token, json: { username: 'Meera', number: phone } }),
          patient(service, 'GET', `/users/${id}`, { token }),
          patient(service, 'GET', '/library', { token }),
          upload(service, token)
        ])
        t.match(answers, [
          failed('Failed to send OTP', true),
          failed('Internal server error', true),
          failed('User creation failed', false),
          failed('Internal server error', true),
          failed('Failed to fetch library items', true),
          failed('Failed to save library item', true)
        ])
        const { status, body, headers } = await ready
        t.match({ status, body, wait: headers.get('retry-after') }, NOT_READY)
        await mongo.up()
        t.same(await recovery(service, token), RECOVERED)
      }
    )
  }

  for (const { outage, how } of OUTAGES) {
    t.test(
      `uploads are answered 500 while the store ${how}, the rest works, and all recovers`,
      async t => {
        await s3Wire[outage]()
        const [ready, uploaded] = [notReady(service), upload(service, token)]
        t.match(await patient(service, 'GET', '/health/live'), { status: 200 })
        t.match(await patient(service, 'GET', '/library', { token }), { status: 200 })
        t.match(await patient(service, 'POST', '/users', { token, json: { username: 'Meera', number: phone } }), {
          status: 201
        })
        t.match(await uploaded, failed('Failed to upload file to S3', true))
        const { status, body, headers } = await ready
        t.match({ status, body, wait: headers.get('retry-after') }, NOT_READY)
        await s3Wire.up()
        t.same(await recovery(service, token), RECOVERED)
      }
    )
  }
})

t.test('two instances whose clocks are a minute apart', async t => {
  const services = await startServices(t)
  const s3 = await s3Proxy({ endpoint: services.s3.endpoint })
  t.teardown(s3.close)
  const behind = await startService(t, {
    services: { ...services, s3: { ...services.s3, endpoint: s3.endpoint } }
  })
  const ahead = await startService(t, { services, now: () => new Date(behind.clock.now.getTime() + 60_000) })

  t.test('instances whose clocks differ take each other\'s tokens and codes, and a code lives at neither too long', async t => {
    for (const [one, other] of [[behind, ahead], [ahead, behind]] as const) {
      const { token } = await one.signIn()
      t.equal((await other.call('GET', '/auth/sessions', { token })).status, 200)
      const phone = freshPhone()
      await requestCode(one, phone)
      const verify = (at: Service) => at.call('POST', '/auth/verify-otp', { json: { phone, otp: one.lastCode(phone) } })
      behind.clock.advance(361)
      t.match(
        [await verify(one), await verify(other)],
        [{ status: 200, body: { success: false } }, { status: 200, body: { success: false } }],
        'though the database has not taken it away yet'
      )
      await requestCode(one, phone)
      t.match(await verify(other), { status: 200, body: { success: true } })
    }
  })

  t.test('an instance does not sweep an upload of the other that takes its full time', async t => {
    const { token } = await behind.signIn()
    const { hit } = s3.fault({ operation: 'PutObject', action: { do: 'delay', ms: 60_000 }, times: 1 })
    const answer = upload(behind, token)
    await hit
    behind.clock.advance(behind.config.UPLOAD_MAX_SECONDS - 1)
    t.match(await eventually(() => ahead.app.sweeper.sweep()), { uploads: 0, failed: 0 })
    s3.clear()
    t.equal((await answer).status, 201)
  })
})

const failed = (error: string, detailed: boolean) => ({
  status: 500,
  body: detailed
    ? { error, details: /^The request could not be completed\. Quote request id [0-9a-f-]{36} / }
    : { error }
})

/** One request that gives up after 30 s, long before the driver would. */
const patient = (service: Service, method: string, path: string, options: CallOptions = {}): Promise<Reply> =>
  service.call(method, path, { ...options, signal: AbortSignal.timeout(30_000) })

/** The first 503 of the readiness probe. A check is reused for one second. */
const notReady = (service: Service): Promise<Reply> => eventually(async () => {
  const reply = await patient(service, 'GET', '/health/ready')
  return reply.status === 503 && reply
})

async function upload (service: Service, token: string): Promise<Reply> {
  return patient(service, 'POST', '/library/upload', { token, body: uploadForm(gif) })
}

const RECOVERED = { uploaded: 201, listed: 1, multipartUploads: [] }

/** Uploads once all works again. Resolves with what the upload added, once the failed ones have left nothing. */
async function recovery (service: Service, token: string) {
  await eventually(async () => (await service.call('GET', '/health/ready')).status === 200, 'readiness')
  const total = async () => (await ok(service.call('GET', '/library', { token }))).body.total as number
  const before = await total()
  const { status } = await upload(service, token)
  const listed = await total() - before
  const { multipartUploads } = await eventually(async () => {
    const found = await service.remains()
    return found.uploads === 0 && foldersOf(found.objects).length === before + 1 && found
  })
  return { uploaded: status, listed, multipartUploads }
}
