import t from 'tap'
import { freshAddress, freshPhone, insertRows, namedPhone, userRow } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { loggedEvents } from '../helpers/logs.js'
import { burstOf } from '../helpers/pipelined-posts.js'
import { type Reply, type Service, startService } from '../helpers/service.js'
import { simulateDay } from '../helpers/simulated-day.js'
import { startGateway } from '../helpers/sms-gateway.js'
import { scale } from '../helpers/test-length.js'

const TOO_MANY = { error: 'Too many codes requested' }
/** Settings for a provider that costs money. The SMS are kept, not sent. */
const PAID = {
  SMS_PROVIDER: 'http',
  SMS_HTTP_URL: 'http://gateway.invalid',
  TRUST_PROXY: 'loopback',
  SMS_ALLOWED_COUNTRIES: 'IN,US,GB'
}
const MINUTE = 60
const DAY = 24 * 60 * MINUTE

t.test('The fraud guard with its defaults', async t => {
  const service = await startService(t, { env: PAID })
  const { ask, use } = clientOf(service)

  t.test('30 requests from 6 client networks stop no country, with the defaults and at midnight', async t => {
    const day = await beginDay()
    service.clock.now = new Date(service.clock.now.toISOString().slice(0, 11) + '00:00:00Z')
    const statuses: number[] = []
    for (let i = 0; i < 60; i++) statuses.push((await ask(freshPhone(), `198.51.100.${i % 6}`)).status)
    t.same(
      statuses,
      [...Array(30).fill(200), ...Array(30).fill(429)],
      'each network has five SMS whose codes are unused'
    )
    for (let host = 1; host <= 5; host++) {
      t.equal((await ask(freshPhone(), `203.0.113.${host}`)).status, 200, 'a stranger elsewhere gets in')
    }
    t.same(loggedEvents(day, 'sms.stopped').map(({ dimension }) => dimension), Array(6).fill('network'))
  })

  t.test(
    'A client network stops at 5 SMS with too few used codes, for 15 minutes; then the share of 10 decides',
    async t => {
      await beginDay()
      for (let sent = 1; sent <= 5; sent++) t.equal((await ask(freshPhone(), '198.51.100.1')).status, 200)
      const sixth = await ask(freshPhone(), '198.51.100.1')
      t.same([sixth.status, sixth.body, sixth.headers.get('retry-after')], [429, TOO_MANY, '900'])
      t.match(loggedEvents(service, 'otp.limited').at(-1), { reason: 'fraud network', phone: null })
      t.equal((await ask(freshPhone(), '198.51.100.2')).status, 200, 'its neighbours do not suffer')
      service.clock.advance(15 * MINUTE - 1)
      t.equal((await ask(freshPhone(), '198.51.100.1')).headers.get('retry-after'), '1')

      service.clock.advance(1)
      for (let sent = 1; sent <= 10; sent++) t.equal((await ask(freshPhone(), '198.51.100.1')).status, 200, 'on trial')
      t.equal((await ask(freshPhone(), '198.51.100.1')).headers.get('retry-after'), '900', 'none of ten was used')

      service.clock.advance(15 * MINUTE)
      const honest = Array.from({ length: 10 }, freshPhone)
      for (const phone of honest) t.equal((await ask(phone, '198.51.100.1')).status, 200)
      t.equal((await ask(freshPhone(), '198.51.100.1')).status, 429)
      for (const phone of honest.slice(0, 2)) t.match(await use(phone), { status: 200, body: { success: true } })
      for (let sent = 1; sent <= 4; sent++) {
        t.equal((await ask(freshPhone(), '198.51.100.1')).status, 200, 'two of ten were')
      }
    }
  )

  t.test('Many honest people behind one address are not stopped, and late codes free it at once', async t => {
    await beginDay()
    const phones = Array.from({ length: 5 }, freshPhone)
    for (const phone of phones) t.equal((await ask(phone, '203.0.113.9')).status, 200)
    t.equal((await ask(freshPhone(), '203.0.113.9')).status, 429, 'five codes, and none was used yet')
    await ok(use(phones[0]!))
    for (let person = 1; person <= 20; person++) {
      const phone = freshPhone()
      t.equal((await ask(phone, '203.0.113.9')).status, 200)
      t.match(await use(phone), { status: 200, body: { success: true } })
    }
  })

  t.test(
    'A country and a prefix stop for phones without an account, never for others, and recover by themselves',
    async t => {
      const day = await beginDay()
      const account = await namedPhone(service.app)
      for (let sent = 0; sent < 30; sent++) t.equal((await ask(freshPhone(), `198.51.100.${sent}`)).status, 200)
      const stopped = await ask(freshPhone(), '203.0.113.1')
      t.same([stopped.status, stopped.body, stopped.headers.get('retry-after')], [429, TOO_MANY, '900'])
      t.match(loggedEvents(service, 'otp.limited').at(-1), { reason: /^fraud (country|prefix)$/, phone: null })
      t.same(
        loggedEvents(day, 'sms.stopped').filter(({ dimension }) => dimension === 'country').map(
          ({ value, sent, verified, level }) => [value, sent, verified, level]
        ),
        [['IN', 30, 0, 40]]
      )
      t.notOk(
        service.logs.some(line =>
          /"event":"sms\.stopped"/.test(line) &&
          /\d{8}|198\.51/.test(line.replace(/"(time|reqId|pid|hostname)":("[^"]*"|\d+)/g, ''))),
        'no address and no number in the line'
      )
      t.equal((await ask(account, '203.0.113.1')).status, 200, 'a phone with an account gets its SMS')
      t.match(await use(account), { status: 200, body: { success: true } })
      t.equal((await ask('+12025550123', '203.0.113.1')).status, 200, 'other countries do not suffer')

      service.clock.advance(15 * MINUTE)
      const honest = Array.from({ length: 10 }, freshPhone)
      for (const [i, phone] of honest.entries()) {
        t.equal((await ask(phone, `203.0.113.${10 + i}`)).status, 200, 'ten pass')
      }
      t.equal((await ask(freshPhone(), '203.0.113.30')).status, 429)
      for (const phone of honest.slice(0, 2)) t.match(await use(phone), { status: 200, body: { success: true } })
      for (let host = 40; host < 60; host++) {
        t.equal((await ask(freshPhone(), `203.0.113.${host}`)).status, 200, 'and the country goes on')
      }
      const rows = await service.app.collections.otps.find({ hours: { $exists: true } }).toArray()
      t.ok(rows.length > 30)
      t.notOk(
        rows.some(row => /203\.0|198\.51|\+\d{9,}/.test(JSON.stringify(row))),
        'no address and no number in the counters'
      )
    }
  )

  t.test('An IPv6 client is its /56', async t => {
    await beginDay()
    for (let host = 1; host <= 5; host++) t.equal((await ask(freshPhone(), `2001:db8:0:${host}::1`)).status, 200)
    t.equal((await ask(freshPhone(), '2001:db8:0:ff::1')).status, 429)
    t.equal((await ask(freshPhone(), '2001:db8:0:100::1')).status, 200)
  })

  /** Begins a day on which nothing is counted yet. Its log lines are those that follow. */
  async function beginDay (): Promise<Pick<Service, 'logs'>> {
    service.clock.advance(2 * DAY)
    await service.app.collections.otps.deleteMany({}) // as the TTL index would, if the database had this clock
    const before = service.logs.length
    return { get logs () { return service.logs.slice(before) } }
  }
})

t.test('A country that is no fifth of the day\'s SMS is not judged by an hour', async t => {
  const elsewhere = 5 * scale({ short: 9, long: 40 })
  const here = elsewhere / 5
  const service = await startService(t, { env: { ...PAID, FRAUD_MIN_SMS: String(here - 1) } })
  const { ask, use } = clientOf(service)
  for (let sent = 0; sent < elsewhere; sent++) {
    const phone = await namedPhone(service.app, `+1202555${String(1000 + sent).slice(-4)}`)
    t.equal((await ask(phone, `10.0.0.${sent}`)).status, 200)
    await ok(use(phone))
  }
  service.clock.advance(3600)
  for (let sent = 0; sent < here; sent++) t.equal((await ask(freshPhone(), `198.51.100.${sent}`)).status, 200)
  t.same(loggedEvents(service, 'sms.stopped').filter(({ dimension }) => dimension === 'country'), [])
})

t.test(
  'Phones without an account have half of each cap, those with one the whole, also when many ask at once',
  async t => {
    const many = 20 * scale({ short: 2, long: 10 })
    const env = { ...PAID, SMS_HOURLY_CAP: '20', SMS_DAILY_CAP: '30' }
    const service = await startService(t, { env })
    const second = await startService(t, { env, services: service.services })
    const bursts = [service, second].map(one => burstOf(t, one))
    const atOnce = async (phones: string[]) => {
      const answers = (await Promise.all(bursts.map((burst, share) =>
        burst(phones.filter((_, i) => i % 2 === share).map(phone => ({
          path: '/auth/request-otp',
          json: { phone },
          headers: { 'x-forwarded-for': freshAddress() }
        })))))).flat()
      failed += answers.filter(({ status }) => status === 500).length
      return answers.filter(({ status }) => status === 200).length
    }
    const known = Array.from({ length: many }, freshPhone)
    await insertRows(
      service.app.collections.users,
      known.map(number => userRow({ number, username: number, username_key: number }))
    )
    /** On a busy machine some requests get a 500, and their counts may stay: each takes one SMS from the bound. */
    let failed = 0
    const isMost = (count: number, most: number, what: string) =>
      t.ok(count <= most && count >= most - failed, `${what}: ${count} of ${most}, and ${failed} failed`)
    const sent = () => service.sms.length + second.sms.length
    isMost(await atOnce(Array.from({ length: many }, freshPhone)), 10, 'strangers in the first hour')
    isMost(await atOnce(known), 10, 'accounts in the first hour')
    for (const one of [service, second]) one.clock.advance(3600)
    t.ok(await atOnce(Array.from({ length: 20 }, freshPhone)) <= failed, 'half of the day is over for strangers')
    const left = 30 - sent()
    isMost(await atOnce(known), left, 'accounts in the second hour')
    isMost(sent(), 30, 'all')
  }
)

t.test('An SMS that the provider failed to send is counted nowhere', async t => {
  const gateway = await startGateway(t)
  const env = { ...PAID, SMS_HTTP_URL: gateway.url, FRAUD_MIN_SMS: '15' }
  const service = await startService(t, { env, sendSms: undefined })
  const { ask } = clientOf(service)
  gateway.behave(response => { response.writeHead(500).end() })
  for (let failed = 0; failed < 20; failed++) {
    t.equal((await ask(freshPhone(), `198.51.100.${failed % 3}`)).status, 500)
  }
  const counted = await service.app.collections.otps.find({ hours: { $exists: true } }).toArray()
  t.ok(counted.length > 3)
  t.same(
    counted.filter(row => 'hours' in row && ('stop' in row || Object.values(row.hours).some(({ sent }) => sent !== 0))),
    []
  )
})

t.test('The console provider counts nothing and stops no phone; FRAUD_MIN_SMS=0 turns the guard off', async t => {
  for (const env of [
    { TRUST_PROXY: 'loopback' },
    { ...PAID, FRAUD_MIN_SMS: '0', SMS_HOURLY_CAP: '0', SMS_DAILY_CAP: '0' }
  ]) {
    const service = await startService(t, { env })
    for (let sent = 1; sent <= 8; sent++) {
      t.equal((await service.call('POST', '/auth/request-otp', { json: { phone: freshPhone() } })).status, 200)
    }
    t.equal(await service.app.collections.otps.countDocuments({ hours: { $exists: true } }), 0)
  }
})

t.test(
  'On a day under attack from many networks phones with an account get in, and the bill stays under the caps',
  async t => {
    const size = 12 * scale({ short: 1, long: 5 })
    const [people, inDay, inHour] = [size / 3 * 5, size * 5, size / 2]
    const service = await startService(t, {
      env: { ...PAID, SMS_HOURLY_CAP: String(inHour), SMS_DAILY_CAP: String(inDay), LIMIT_SMS_PER_ADDRESS: '30' }
    })
    const { known, sms, mostInHour } = await simulateDay(service, {
      networks: size,
      everySeconds: 3600,
      known: people,
      strangers: people / 5
    })
    t.ok(known >= 0.95 * people, `${known} of ${people}`)
    t.ok(sms <= inDay && mostInHour <= inHour, `${sms} SMS, ${mostInHour} in one hour`)
  }
)

function clientOf (service: Service) {
  return {
    ask: (phone: string, address: string): Promise<Reply> => service.call('POST', '/auth/request-otp', {
      json: { phone },
      headers: { 'x-forwarded-for': address }
    }),
    use: (phone: string): Promise<Reply> => service.call('POST', '/auth/verify-otp', {
      json: { phone, otp: service.lastCode(phone) }
    })
  }
}
