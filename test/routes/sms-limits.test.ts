import t, { type Test } from 'tap'
import { auditOf, freshPhone, setBlocked } from '../helpers/accounts.js'
import { answerOf, ok, refusal } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { askForCode, otpStateOf, submitCode, wrongCode } from '../helpers/codes.js'
import { loggedEvents } from '../helpers/logs.js'
import { burstOf } from '../helpers/pipelined-posts.js'
import { type Reply, type Service, type ServiceOptions, startService } from '../helpers/service.js'
import { gatewayError, startGateway } from '../helpers/sms-gateway.js'
import { scale } from '../helpers/test-length.js'

const REQUEST = '/auth/request-otp'
const VERIFY = '/auth/verify-otp'
const INVALID = { success: false, message: 'Invalid OTP' }
const NO_PHONE = refusal({ phone: ['Not a valid phone number.'] })
const TOO_MANY_SMS = { error: 'Too many codes requested' }
const TOO_MANY_GUESSES = { error: 'Too many wrong codes' }
/** Settings for a provider that costs money. The SMS are kept, not sent. */
const COSTLY = { SMS_PROVIDER: 'http', SMS_HTTP_URL: 'http://gateway.invalid' }
const DAY = 86_400

const services = await startServices(t)

t.test('POST /auth/request-otp sends SMS to the allowed numbers alone', async t => {
  const service = await start(t, { ...COSTLY, SMS_ALLOWED_COUNTRIES: 'IN,US' })
  const elsewhere = [
    '+447911123456', '+919', '+911123456789', '+911234567890', '+15551234567', '+18002345678', '+80012345678',
    '+919999999999999', '1234567890'
  ]
  for (const phone of elsewhere) t.same(answerOf(await askForCode(service, phone)), NO_PHONE, phone)
  t.same(service.sms, [])
  for (const phone of [freshPhone(), '+12025550123']) t.equal((await askForCode(service, phone)).status, 200, phone)
  t.equal(
    (await submitCode(service, '+15551234567', '123456')).status,
    200,
    'only an SMS needs more than a possible number'
  )
})

t.test('Use of test numbers', async t => {
  const number = '+919999900000'
  const service = await start(t, {
    ...COSTLY,
    OTP_TEST_NUMBERS: '+15551230000:654321, 09999900000:012345',
    OTP_TEST_NUMBERS_UNTIL: '2126-05-20',
    LIMIT_SMS_PER_ADDRESS: '1',
    SMS_DAILY_CAP: '100000',
    TRUST_PROXY: 'off'
  })
  const counts = () => service.app.collections.otps.find({ hours: { $exists: true } }, { sort: { _id: 1 } }).toArray()

  t.test('Test numbers get a code without an SMS, a gap, a budget or a count', async t => {
    const before = await counts()
    for (let times = 1; times <= 12; times++) {
      t.same(answerOf(await askForCode(service, '099999 00000')), { status: 200, body: { message: 'OTP sent' } })
    }
    t.same((await askForCode(service, '+15551230000')).status, 200, 'also one that takes no SMS')
    t.match(await submitCode(service, number, '012345'), { status: 200, body: { success: true } })
    t.match(await submitCode(service, '+15551230000', '654321'), { status: 200, body: { success: true } })
    t.same(service.sms, [])
    t.same(await counts(), before)
    t.same((await otpStateOf(service, number))?.sms, [])
    for (const event of ['otp.requested', 'otp.verified']) {
      t.match(loggedEvents(service, event).at(-1), { reason: 'test number' })
    }
    await service.app.audit.flush()
    t.ok((await auditOf(service.app, number)).some(({ event, details }) =>
      event === 'otp.verified' && details.reason === 'test number'))
  })

  t.test('The code of a test number is its alone, needs a request, gives one token and allows five tries', async t => {
    const phone = freshPhone()
    await ok(askForCode(service, phone))
    if (service.lastCode(phone) !== '012345') t.same((await ok(submitCode(service, phone, '012345'))).body, INVALID)
    t.same((await ok(submitCode(service, number, '012345'))).body, INVALID, 'used')
    await ok(askForCode(service, number))
    for (let tries = 1; tries <= 5; tries++) t.same((await ok(submitCode(service, number, '654321'))).body, INVALID)
    t.same((await ok(submitCode(service, number, '012345'))).body, INVALID, 'exhausted')
    await ok(askForCode(service, number))
    for (let tries = 6; tries <= 10; tries++) t.same((await ok(submitCode(service, number, '000000'))).body, INVALID)
    await ok(askForCode(service, number))
    const tenth = await submitCode(service, number, '012345')
    t.same(
      [tenth.status, tenth.body, tenth.headers.get('retry-after')],
      [429, TOO_MANY_GUESSES, '1'],
      'the phone waits'
    )
    service.clock.advance(1)
    const answers = await burstOf(t, service)(Array.from({ length: 20 }, () => ({
      path: VERIFY,
      json: { phone: number, otp: '012345' }
    })))
    t.equal(answers.filter(({ body }) => body.success).length, 1)
  })

  t.test('Test numbers are numbers like any other when their time is over', async t => {
    service.clock.now = new Date('2126-05-20T23:59:50Z')
    const signIn = async (refresh: boolean) => {
      await ok(askForCode(service, number))
      return (await ok(service.call('POST', VERIFY, { json: { phone: number, otp: '012345', refresh } }))).body
    }
    t.match(await signIn(false), { success: true, expires_in: 10 }, 'a session ends with them')
    const { refresh_token: first } = await signIn(true)
    const { status, body } = await service.call('POST', '/auth/refresh', { json: { refresh_token: first } })
    t.match([status, body], [200, { expires_in: 10 }])
    service.clock.now = new Date('2126-05-20T23:59:59.999Z')
    await ok(askForCode(service, number))
    t.match(await submitCode(service, number, '012345'), { status: 200, body: { success: true } })
    await ok(askForCode(service, number))
    service.clock.advance(0.001)
    t.same((await ok(submitCode(service, number, '012345'))).body, INVALID)
    t.equal((await service.call('POST', '/auth/refresh', { json: { refresh_token: body.refresh_token } })).status, 401)
    service.clock.advance(DAY)
    t.equal((await askForCode(service, number)).status, 200)
    t.equal(service.sms.at(-1)?.to, number)
    t.same(answerOf(await askForCode(service, '+15551230000')), NO_PHONE)
  })
})

t.test('A blocked phone is answered like a free one and gets no SMS', async t => {
  const service = await start(t, {
    ...COSTLY,
    LIMIT_SMS_PER_ADDRESS: '3',
    SMS_HOURLY_CAP: '100000',
    TRUST_PROXY: 'off'
  })
  const blocked = freshPhone()
  await service.signIn(blocked)
  await setBlocked(service, blocked, true)
  service.clock.advance(2 * DAY)
  const free = freshPhone()
  const both = async (work: (phone: string) => Promise<Reply>) => {
    const [one, other] = [await work(blocked), await work(free)]
    t.same(
      [one.status, one.text, one.headers.get('retry-after'), [...one.headers.keys()]],
      [other.status, other.text, other.headers.get('retry-after'), [...other.headers.keys()]]
    )
    return other
  }
  const smsBefore = service.sms.length
  t.equal((await both(phone => askForCode(service, phone))).status, 200)
  t.equal((await both(phone => askForCode(service, phone))).status, 200, 'inside the gap')
  t.same((await ok(both(phone => submitCode(service, phone, '12345')))).body, INVALID)
  for (let sent = 2; sent <= 3; sent++) {
    for (let tries = 1; tries <= 5; tries++) await ok(submitCode(service, blocked, String(tries).repeat(6)))
    await ok(submitCode(service, free, service.lastCode(free)))
    await ok(both(phone => askForCode(service, phone)))
  }
  t.same(service.sms.slice(smsBefore).map(({ to }) => to), Array(3).fill(free), 'and no SMS')
  t.equal((await askForCode(service, freshPhone())).status, 429, 'the address had three SMS, not six')
  const { sms } = (await otpStateOf(service, blocked))!
  t.equal(sms.length, 3)
  t.equal((await otpStateOf(service, free))?.sms.length, 3)
  t.equal(await sentThisHour(service), 3)

  const unblocked = freshPhone()
  service.clock.advance(DAY)
  await ok(askForCode(service, unblocked))
  await service.app.collections.users.updateOne({ number: blocked }, { $set: { number: unblocked } })
  t.same(
    (await ok(submitCode(service, unblocked, service.lastCode(unblocked)))).body,
    INVALID,
    'blocked while the SMS was on its way'
  )
  await setBlocked(service, unblocked, false)
  await ok(askForCode(service, unblocked))
  t.match(await submitCode(service, unblocked, service.lastCode(unblocked)), { status: 200, body: { success: true } })
})

t.test('Limits of a client address', async t => {
  t.test('The SMS of an address are counted when they are sent, strictly, and after the gap', async t => {
    const gateway = await startGateway(t)
    const service = await start(
      t,
      {
        SMS_PROVIDER: 'http',
        SMS_HTTP_URL: gateway.url,
        LIMIT_SMS_PER_ADDRESS: '3',
        TRUST_PROXY: 'loopback',
        SMS_DAILY_CAP: '100000'
      },
      { sendSms: undefined }
    )
    const from = (address: string, phone = freshPhone()) => service.call('POST', REQUEST, {
      json: { phone },
      headers: { 'x-forwarded-for': address }
    })

    gateway.behave(gatewayError(500))
    for (let sent = 1; sent <= 5; sent++) t.equal((await from('198.51.100.1')).status, 500)
    gateway.behave()
    const first = freshPhone()
    t.equal((await from('198.51.100.1', first)).status, 200)
    service.clock.advance(10)
    for (let sent = 2; sent <= 3; sent++) t.equal((await from('::ffff:198.51.100.1')).status, 200)
    const fourth = await from('198.51.100.1')
    t.same([fourth.status, fourth.body, fourth.headers.get('retry-after')], [429, TOO_MANY_SMS, '290'])
    t.equal((await from('198.51.100.1', first)).status, 200, 'inside the gap: quiet')
    t.equal(gateway.requests.length, 5 + 3)
    t.equal((await from('198.51.100.2')).status, 200, 'another address has its own')
    service.clock.advance(289.999)
    t.equal((await from('198.51.100.1')).headers.get('retry-after'), '1')
    service.clock.advance(0.001)
    t.equal((await from('198.51.100.1')).status, 200, 'as the first one is five minutes old')
    t.equal((await from('198.51.100.1')).headers.get('retry-after'), '10')
    t.match(loggedEvents(service, 'otp.limited').at(-1), { reason: 'address', phone: null })

    for (let host = 1; host <= 3; host++) t.equal((await from(`2001:db8:1:2::${host}`)).status, 200)
    t.equal((await from('2001:db8:1:ff:ffff::9')).status, 429, 'a /56 is one client')
    t.equal((await from('2001:db8:1:100::1')).status, 200)

    const sent = gateway.requests.length
    service.clock.advance(300)
    const answers = await burstOf(t, service)(Array.from({ length: 50 }, () => ({
      path: REQUEST,
      json: { phone: freshPhone() }
    })))
    t.same([200, 429].map(status => answers.filter(answer => answer.status === status).length), [3, 47])
    t.equal(gateway.requests.length, sent + 3)
    t.same(
      await service.app.collections.otps.countDocuments({ 'challenge.issued_at': service.clock.now }),
      3,
      'a phone without an SMS has no code'
    )
  })

  const FAILURES = 3
  const strict = await start(t, { LIMIT_FAILURES_PER_ADDRESS: String(FAILURES), TRUST_PROXY: 'loopback' })

  t.test('One guess at each of many phones is at most as many guesses as the limit', async t => {
    const service = strict
    const phone = freshPhone()
    await ok(askForCode(service, phone))
    const burst = burstOf(t, service)
    const statuses: number[] = []
    const guesses = 100 * scale({ short: 3, long: 100 })
    for (let sent = 0; sent < guesses; sent += 100) {
      const answers = await burst(Array.from({ length: 100 }, () => ({
        path: VERIFY,
        json: { phone: freshPhone(), otp: '123456' }
      })))
      statuses.push(...answers.map(({ status }) => status))
    }
    t.same(
      [200, 429].map(wanted => statuses.filter(status => status === wanted).length),
      [FAILURES, guesses - FAILURES]
    )
    const right = await submitCode(service, phone, service.lastCode(phone))
    t.same(
      [right.status, right.body, right.headers.get('retry-after')],
      [429, TOO_MANY_GUESSES, '300'],
      'a right one is refused as well'
    )
    const elsewhere = await ok(service.call('POST', VERIFY, {
      json: { phone, otp: service.lastCode(phone) },
      headers: { 'x-forwarded-for': '198.51.100.7' }
    }))
    t.match(elsewhere.body, { success: true }, 'for that address alone')
    t.match(loggedEvents(service, 'otp.locked').at(-1), { reason: 'address', phone: null })
    await service.app.audit.flush()
    const rows = await service.app.collections.audit.find({ event: 'otp.locked', phone: null }).toArray()
    t.equal(rows.reduce((sum, { count }) => sum + count, 0), guesses - FAILURES + 1)
    t.equal(rows.length, 1)
    t.equal(
      await service.app.collections.audit.countDocuments({
        event: 'otp.locked',
        phone: { $ne: null },
        'details.reason': 'address'
      }),
      0
    )
  })

  t.test(
    'A right code and a repeated one are no failure, a malformed one is, and five minutes later all is well',
    async t => {
      const service = strict
      service.clock.advance(600)
      for (let times = 1; times <= 5; times++) {
        const { phone } = await service.signIn()
        t.same((await ok(submitCode(service, phone, service.lastCode(phone)))).body, INVALID)
        service.clock.advance(1)
        await ok(askForCode(service, phone))
        const twice = await Promise.all([1, 2].map(() => submitCode(service, phone, service.lastCode(phone))))
        t.same(twice.map(({ body }) => body.success).sort(), [false, true])
      }
      const { phone } = await service.signIn()
      t.same(
        (await ok(submitCode(service, phone, wrongCode(service, phone)))).body,
        INVALID,
        'another code is a failure'
      )
      service.clock.advance(300)
      for (const otp of ['123', '123456', '654321']) {
        t.same(
          (await ok(submitCode(service, freshPhone(), otp))).body,
          INVALID
        )
      }
      t.equal((await submitCode(service, freshPhone(), '123456')).status, 429)
      t.equal((await submitCode(service, 'nobody', '123456')).status, 400)
      service.clock.advance(300)
      t.match((await service.signIn()).token, /^ey/)
    }
  )
})

t.test('Caps of the service', async t => {
  t.test(
    'The caps hold for two processes, strictly; a failed SMS is given back; one line is logged at 80 %',
    async t => {
      const gateway = await startGateway(t)
      const env = { SMS_PROVIDER: 'http', SMS_HTTP_URL: gateway.url, SMS_HOURLY_CAP: '20', SMS_DAILY_CAP: '30' }
      const pair = [await start(t, env, { sendSms: undefined }), await start(t, env, { sendSms: undefined })] as const
      const advance = (seconds: number) => { for (const { clock } of pair) clock.advance(seconds) }
      const bursts = pair.map(service => burstOf(t, service))
      const ask = async (each: number) => {
        const answers = (await Promise.all(bursts.map(burst =>
          burst(Array.from({ length: each }, () => ({ path: REQUEST, json: { phone: freshPhone() } })))))).flat()
        return [200, 429, 500].map(status => answers.filter(answer => answer.status === status).length)
      }
      advance(100 * DAY + 600)

      gateway.behave(gatewayError(500))
      t.same(await ask(5), [0, 0, 10])
      gateway.behave()
      const first = freshPhone()
      t.equal((await askForCode(pair[0], first)).status, 200)
      t.same(await ask(7), [14, 0, 0])
      const alarms = () => pair.flatMap(service => loggedEvents(service, 'sms.cap_approached')).map(
        ({ window, sent, cap, level }) => ({ window, near: sent >= 0.8 * cap, cap, level })
      )
      t.same(alarms(), [])
      t.same(await ask(25), [5, 45, 0], 'a race included')
      t.same(alarms(), [{ window: 'hour', near: true, cap: 20, level: 40 }])
      for (const service of pair) {
        const { status, body, headers } = await askForCode(service, freshPhone())
        t.same([status, body, headers.get('retry-after')], [429, TOO_MANY_SMS, '3000'], 'until the hour is over')
        t.match(loggedEvents(service, 'otp.limited').at(-1), { reason: 'hourly cap' })
      }
      t.equal((await askForCode(pair[1], first)).status, 200, 'inside the gap: quiet')

      advance(3000)
      t.same(await ask(20), [10, 30, 0])
      const { headers } = await askForCode(pair[0], freshPhone())
      t.equal(headers.get('retry-after'), String(23 * 3600), 'until the first hour of the last 24 is over')
      t.match(loggedEvents(pair[0], 'otp.limited').at(-1), { reason: 'daily cap' })
      t.same(alarms().filter(({ window }) => window === 'day'), [{ window: 'day', near: true, cap: 30, level: 40 }])
      t.equal(gateway.requests.length, 10 + 30)
      advance(23 * 3600)
      t.same(await ask(1), [2, 0, 0])
      const unused = await pair[0].app.collections.otps.countDocuments({
        'challenge.issued_at': { $gte: new Date('2126-08-12') }
      })
      t.equal(unused, 32, 'a phone without an SMS has no code')
    }
  )

  t.test('On the console every possible number will do, and caps stop no phone until they are set', async t => {
    const free = await start(t)
    free.clock.advance(200 * DAY)
    t.equal((await askForCode(free, '+15551234567')).status, 200)
    for (let sent = 1; sent <= 3; sent++) t.equal((await askForCode(free, freshPhone())).status, 200)
    t.equal(await sentThisHour(free), 0)
    const capped = await start(t, { SMS_DAILY_CAP: '2' })
    capped.clock.advance(200 * DAY)
    for (const status of [200, 200, 429]) t.equal((await askForCode(capped, freshPhone())).status, status)
  })
})

type Settings = Omit<ServiceOptions, 'env' | 'services'>

/** A service on the file's own database. Its guard is off unless `env` says otherwise. */
function start (t: Test, env: Record<string, string> = {}, settings: Settings = {}): Promise<Service> {
  return startService(t, { services, env: { FRAUD_MIN_SMS: '0', TRUST_PROXY: 'loopback', ...env }, ...settings })
}

async function sentThisHour ({ app, clock }: Service): Promise<number> {
  const counter = await app.collections.otps.findOne({ _id: 'service' })
  return counter && 'hours' in counter ? counter.hours[Math.floor(clock.now.getTime() / 3_600_000)]?.sent ?? 0 : 0
}
