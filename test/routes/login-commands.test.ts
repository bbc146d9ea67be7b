import t, { type Test } from 'tap'
import { freshPhone, namedPhone } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startServices, withUriOption } from '../helpers/backends.js'
import { otpStateOf, wrongCode } from '../helpers/codes.js'
import { burstOf } from '../helpers/pipelined-posts.js'
import { startService } from '../helpers/service.js'
import { startGateway } from '../helpers/sms-gateway.js'
import { eventually } from '../helpers/wait.js'

const REQUEST = '/auth/request-otp'
const VERIFY = '/auth/verify-otp'
/** The collections whose commands count. The sweeper uses others at the same time. */
const COUNTED = ['otps', 'users', 'audit']
const services = await startServices(t)

for (const provider of ['console', 'paid']) {
  t.test(
    `With a ${provider} provider a request needs at most four database commands, a guess three or five`,
    async t => {
      const { service, commandsOf } = await counted(
        t,
        provider === 'paid' ? { SMS_PROVIDER: 'http', SMS_HTTP_URL: 'http://gateway.invalid' } : {}
      )
      for (const hour of ['first', 'second']) {
        for (const turn of ['cold', 'warm']) {
          for (const phone of [freshPhone(), await namedPhone(service.app)]) {
            const at = `${hour} hour, ${turn}`
            t.same(await commandsOf('POST', REQUEST, { phone }), ['find', 'find', 'update', 'update'], at)
            t.same(
              await commandsOf('POST', REQUEST, { phone }),
              ['find', 'find', 'update'],
            `${at}: in the gap nothing is written but the audit`
            )
            t.same(
              await commandsOf('POST', VERIFY, { phone, otp: wrongCode(service, phone) }),
              ['find', 'update', 'update'],
              at
            )
            const right = await commandsOf('POST', VERIFY, { phone, otp: service.lastCode(phone) })
            t.same(
              right.filter(name => name === 'update').length,
              2,
              `${at}: the guess, and the audit before the answer`
            )
            t.same(right[0], 'find')
            t.ok(right.length <= 5, `${at}: ${right}`)
          }
        }
        service.clock.advance(3600)
      }
    }
  )
}

const FAILED = ['find', 'find', 'update', 'update', 'update']
t.test('A provider that fails costs one command more', async t => {
  const gateway = await startGateway(t)
  gateway.behave(response => { response.writeHead(500).end() })
  const { commandsOf } = await counted(t, { SMS_PROVIDER: 'http', SMS_HTTP_URL: gateway.url }, { sendSms: undefined })
  t.same(await commandsOf('POST', REQUEST, { phone: freshPhone() }, 500), FAILED)
})

t.test('Documents of the previous version that have another shape are ignored', async t => {
  const old = await startServices(t)
  const first = await startService(t, { services: old })
  const { db } = first.app.mongo
  const [asked, other] = [freshPhone(), freshPhone()]
  const document = (_id: string) => ({
    _id,
    version: 7,
    challenge: {
      nonce: Buffer.alloc(16),
      issued_at: first.clock.now,
      expires_at: new Date(first.clock.now.getTime() + 300_000),
      tries: 0,
      used_at: null
    },
    sends: Array(5).fill(first.clock.now),
    failures: { row: 12, dates: [first.clock.now] },
    locked_until: new Date(first.clock.now.getTime() + 900_000),
    purge_at: new Date(first.clock.now.getTime() + 172_800_000)
  })
  await db!.collection<{ _id: string }>('otps').insertMany([document(asked), document(other)])
  await db!.collection<{ _id: string }>('otps').createIndex({ purge_at: 1 }, { expireAfterSeconds: 0 })
  await db!.collection<{ _id: string }>('texts').insertOne({ _id: 'hour:service:all:2126-05-04T10:00:00.000Z' })

  const service = await startService(t, { services: old })
  t.same((await ok(service.call('POST', VERIFY, { json: { phone: other, otp: '123456' } }))).body, {
    success: false,
    message: 'Invalid OTP'
  })
  const { token } = await service.signIn(asked)
  t.ok(await otpStateOf(service, asked))
  t.equal((await service.call('GET', '/users/me/export', { token })).status, 200)
  t.same((await db!.listCollections({ name: 'texts' }).toArray()), [], 'the unused collection is gone')
})

t.test('A service that limits the SMS of an address', async t => {
  const service = await startService(t, {
    services,
    env: { TRUST_PROXY: 'loopback', LIMIT_SMS_PER_ADDRESS: '30', OTP_TEST_NUMBERS: '+९१९९९९९०००००:१२३४५६' }
  })

  t.test('A stranger who asks 60 times from one address locks no owner out', async t => {
    const phone = freshPhone()
    const ask = (address: string) => service.call('POST', REQUEST, {
      json: { phone },
      headers: { 'x-forwarded-for': address }
    })
    for (let times = 1; times <= 60; times++) {
      const { status } = await ask('198.51.100.66')
      if (status !== 200 && status !== 429) t.fail(`${status}`)
      service.clock.advance(16)
    }
    t.ok(service.sms.length <= 5, `${service.sms.length} SMS`)
    for (let day = 1; day <= 5; day++) {
      const before = service.sms.length
      t.equal((await ask('203.0.113.5')).status, 200)
      t.equal(service.sms.length, before + 1, 'the owner gets an SMS')
      t.match(await service.call('POST', VERIFY, { json: { phone, otp: service.lastCode(phone) } }), {
        status: 200,
        body: { success: true }
      })
      service.clock.advance(600)
    }
  })

  t.test('60 requests of one address at once send no more SMS than its limit', async t => {
    service.clock.advance(3600)
    const before = service.sms.length
    const burst = burstOf(t, service)
    let statuses = [500]
    // a busy machine answers 500, which does not count against the limit
    for (let attempt = 1; attempt <= 5 && statuses.includes(500); attempt++) {
      const answers = await burst(Array.from({ length: 60 }, () => ({ path: REQUEST, json: { phone: freshPhone() } })))
      statuses = answers.map(({ status }) => status)
      t.ok(service.sms.length - before <= 30)
    }
    t.same([...new Set(statuses)].filter(status => status !== 200 && status !== 429), [])
    t.equal(service.sms.length - before, 30)
    t.ok(statuses.includes(429))
  })

  t.test('A phone number and a code in digits of any script are read by their values', async t => {
    service.clock.advance(3600)
    const digits = (text: string, zero: number) => text.replace(/\d/g, digit =>
      String.fromCodePoint(zero + Number(digit)))
    for (const zero of [
      0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0660, 0x06f0, 0xff10, 0x1d7ce, 0x1d7e2
    ]) {
      const phone = freshPhone()
      t.equal((await service.call('POST', REQUEST, { json: { phone: digits(phone, zero) } })).status, 200)
      t.equal(service.sms.at(-1)?.to, phone)
      const { body } = await ok(service.call('POST', VERIFY, {
        json: { phone: digits(phone.slice(3), zero), otp: digits(service.lastCode(phone), zero) }
      }))
      t.match(body, { success: true }, zero.toString(16))
      t.equal(
        (await service.call('POST', '/users', {
          token: body.access_token,
          json: { username: `digits ${zero}`, number: digits(phone, zero) }
        })).status,
        201
      )
    }
    t.equal((await service.call('POST', REQUEST, { json: { phone: '9999900000' } })).status, 200)
    t.match(
      await service.call('POST', VERIFY, { json: { phone: '9999900000', otp: '123456' } }),
      { status: 200, body: { success: true } },
      'a test number may be written so too'
    )
  })
})

/** A service whose database commands are counted. */
async function counted (t: Test, env: Record<string, string>, settings: { sendSms?: undefined } = {}) {
  const service = await startService(t, {
    services: { ...services, mongoUri: withUriOption(services.mongoUri, 'monitorCommands', 'true') },
    env: { ...env, SWEEP_INTERVAL_SECONDS: '0', LIMIT_SMS_PER_ADDRESS: '30', LIMIT_FAILURES_PER_ADDRESS: '100' },
    ...settings
  })
  await eventually(() => service.app.sweeper.sweep()) // the sweep of the start is over
  const names: string[] = []
  let audited = 0
  service.app.mongo.client.on('commandStarted', ({ commandName, command }) => {
    const collection = command[commandName]
    if (COUNTED.includes(collection) && !(collection === 'audit' && audited++ > 0)) names.push(commandName)
  })
  /** The commands of one request, sorted by name. The audit counts as one, however many a slow machine makes of it. */
  async function commandsOf (method: string, path: string, json: object, expected = 200): Promise<string[]> {
    await service.app.audit.flush()
    names.length = audited = 0
    const { status, text } = await service.call(method, path, { json })
    if (status !== expected) throw new Error(`${method} ${path}: ${status} ${text}`)
    await service.app.audit.flush()
    return names.toSorted()
  }
  return { service, commandsOf }
}
