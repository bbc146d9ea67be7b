import t, { type Test } from 'tap'
import { freshPhone } from '../helpers/accounts.js'
import { answerOf, failureOf, ok, refusal } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { askForCode, otpStateOf, submitCode } from '../helpers/codes.js'
import { leaksIn, loggedEvents } from '../helpers/logs.js'
import { type Service, type ServiceOptions, startService } from '../helpers/service.js'
import {
  type Behaviour, codeIn, gatewayError, refusing, startGateway, unclear
} from '../helpers/sms-gateway.js'

const NO_PHONE = refusal({ phone: ['Not a valid phone number.'] })
/** Milliseconds: short for gateways that do not answer, long for those that do, however slow the machine is. */
const SHORT_MS = 2000
const LONG_MS = 60_000
const TWILIO = {
  TWILIO_ACCOUNT_SID: 'AC00000000000000000000000000000001',
  TWILIO_AUTH_TOKEN: 'twilio-auth-token',
  TWILIO_PHONE_NUMBER: '+15005550006'
}
const PUBLIC_URL = 'https://api.example.com/v1'
const accepting: Behaviour = response => {
  response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify({ sid: 'SM2' }))
}
const redirecting: Behaviour = response => { response.writeHead(307, { location: '/elsewhere' }).end() }

const services = await startServices(t)

const waits: number[] = []
const unhurried = {
  sendSms: undefined,
  smsTimeoutMs: LONG_MS,
  smsRetry: { random: () => 0.75, wait: async (ms: number) => { waits.push(ms) } }
}
const hurried = { ...unhurried, smsTimeoutMs: SHORT_MS }
const [first, second] = [await startGateway(t), await startGateway(t)]
const twilioEnv = { SMS_PROVIDER: 'twilio', ...TWILIO, TWILIO_API_URL: `${first.url}/`, PUBLIC_URL: `${PUBLIC_URL}/` }
const httpEnv = { SMS_PROVIDER: 'http', SMS_HTTP_URL: `${second.url}/send?to=sms`, SMS_HTTP_TOKEN: 'gateway-token' }
const listEnv = { ...twilioEnv, ...httpEnv, SMS_PROVIDER: 'twilio,http' }
const twilio = { gateway: first, service: await start(t, twilioEnv, unhurried) }
const http = { gateway: second, service: await start(t, httpEnv, unhurried) }
/** Two lists of the same two providers, Twilio first. One of them waits for a gateway only for a short time. */
const list = { gateway: first, service: await start(t, listEnv, unhurried) }
const hastyList = { gateway: first, service: await start(t, listEnv, hurried) }
const hastyHttp = { gateway: second, service: await start(t, httpEnv, hurried) }

t.beforeEach(() => {
  for (const { behave, requests } of [first, second]) {
    behave()
    requests.length = 0
  }
  waits.length = 0
})

t.test('Twilio', async t => {
  const { gateway, service } = twilio
  const request = (phone: string, platform?: string) => askForCode(service, phone, { platform })

  t.test('Twilio gets a form with basic authentication', async t => {
    const phone = freshPhone()
    t.equal((await request(phone, 'ios')).status, 200)
    const [sent, ...others] = gateway.requests
    t.same(others, [])
    t.match(sent, {
      method: 'POST',
      url: '/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages.json',
      headers: { 'content-type': /^application\/x-www-form-urlencoded/ }
    })
    t.equal(
      sent?.headers.authorization,
      `Basic ${Buffer.from('AC00000000000000000000000000000001:twilio-auth-token').toString('base64')}`
    )
    const form = Object.fromEntries(new URLSearchParams(sent?.body))
    t.match(form, { To: phone, From: '+15005550006', Body: /^\d{6} is your Hookaba verification code\.$/ })
    t.equal(form.StatusCallback, `${PUBLIC_URL}/webhooks/twilio/status?reference=${service.clock.now.getTime()}`)
    t.match(await submitCode(service, phone, codeIn(sent!)), { status: 200, body: { success: true } })
  })

  t.test(
    'Twilio\'s codes 21211, 21408, 21610 and 21614 are the number\'s fault, are not retried, and count as an SMS',
    async t => {
      for (const code of [21211, 21408, 21610, 21614]) {
        gateway.requests.length = 0
        gateway.behave(refusing(400, code))
        const phone = freshPhone()
        for (let sent = 1; sent <= 5; sent++) t.same(answerOf(await request(phone)), NO_PHONE)
        t.equal(gateway.requests.length, 5, 'there is no live code, so no gap')
        const sixth = await request(phone)
        t.same([sixth.status, sixth.headers.get('retry-after')], [429, '600'])
        t.equal(gateway.requests.length, 5)
        t.same(leaksIn(service, { phone, codes: gateway.requests.map(codeIn) }), [])
      }
      gateway.behave(response => {
        response.writeHead(400, { 'content-type': 'application/problem+json' }).end(JSON.stringify({
          type: 'https://www.twilio.com/docs/errors/21211',
          title: 'Invalid number',
          status: 400,
          code: 21211
        }))
      })
      t.same(answerOf(await request(freshPhone())), NO_PHONE, 'also as a problem of RFC 9457')
      t.same(waits, [])

      const limited = await start(
        t,
        {
          SMS_PROVIDER: 'twilio',
          ...TWILIO,
          TWILIO_API_URL: gateway.url,
          LIMIT_SMS_PER_ADDRESS: '2',
          TRUST_PROXY: 'off'
        },
        { sendSms: undefined }
      )
      gateway.behave(refusing(400, 21614))
      const statuses: number[] = []
      for (let sent = 1; sent <= 3; sent++) statuses.push((await askForCode(limited, freshPhone())).status)
      t.same(statuses, [400, 400, 429], 'for the address too')
    }
  )

  t.test('Twilio is asked again at most twice after a 429 or 5xx, with full jitter', async t => {
    for (const behaviour of [refusing(429, 20429), refusing(500, 20500), refusing(503, 20503), gatewayError(502)]) {
      for (const failures of [1, 2]) {
        gateway.requests.length = waits.length = 0
        gateway.behave(...Array(failures).fill(behaviour), accepting)
        const phone = freshPhone()
        t.equal((await request(phone)).status, 200)
        t.equal(gateway.requests.length, failures + 1)
        t.equal(new Set(gateway.requests.map(codeIn)).size, 1, 'with the same code')
        t.same(waits, [150, 300].slice(0, failures))
        t.equal((await otpStateOf(service, phone))?.sms.length, 1, 'which is one SMS')
      }
    }
  })

  t.test('Twilio that stays busy until the time is up is asked no more, and one that speaks no TLS once', async t => {
    gateway.behave(refusing(503, 20503))
    const patient = await start(t, { SMS_PROVIDER: 'twilio', ...TWILIO, TWILIO_API_URL: gateway.url }, {
      sendSms: undefined,
      smsTimeoutMs: SHORT_MS,
      smsRetry: {
        random: () => 0.5,
        wait: (_ms, signal) => new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
        })
      }
    })
    t.equal(failureOf(await askForCode(patient, freshPhone())), 'Failed to send OTP')
    t.equal(gateway.requests.length, 1)
    const plain = await start(
      t,
      { SMS_PROVIDER: 'twilio', ...TWILIO, TWILIO_API_URL: gateway.url.replace('http:', 'https:') },
      { sendSms: undefined }
    )
    const phone = freshPhone()
    t.equal(failureOf(await askForCode(plain, phone)), 'Failed to send OTP')
    t.match(await otpStateOf(plain, phone), { challenge: null, sms: [] })
    t.equal(gateway.requests.length, 1)
  })
})

t.test('A provider that refuses or fails', async t => {
  for (const { through: { gateway, service }, name, behaviour, requests } of [
    { through: twilio, name: 'Twilio that answers 429 for ever', behaviour: refusing(429, 20429), requests: 3 },
    { through: twilio, name: 'Twilio that answers 500 for ever', behaviour: refusing(500, 20500), requests: 3 },
    { through: twilio, name: 'Twilio that answers 502 in HTML for ever', behaviour: gatewayError(502), requests: 3 },
    { through: twilio, name: 'Twilio that answers 400 for another reason', behaviour: refusing(400, 21606), requests: 1 },
    { through: twilio, name: 'Twilio that answers 401', behaviour: refusing(401, 20003), requests: 1 },
    { through: twilio, name: 'Twilio that redirects', behaviour: redirecting, requests: 1 },
    { through: http, name: 'An HTTP provider that answers 400', behaviour: gatewayError(400), requests: 1 },
    { through: http, name: 'An HTTP provider that answers 429', behaviour: gatewayError(429), requests: 1 },
    { through: http, name: 'An HTTP provider that answers 500', behaviour: gatewayError(500), requests: 1 },
    { through: http, name: 'An HTTP provider that redirects', behaviour: redirecting, requests: 1 }
  ]) {
    t.test(`${name} is a 500: the live code stays live, and neither gap nor budget is used`, async t => {
      const phone = freshPhone()
      const failures = loggedEvents(service, 'otp.failed').length
      gateway.behave(behaviour)
      for (let attempt = 1; attempt <= 2; attempt++) {
        t.equal(failureOf(await askForCode(service, phone)), 'Failed to send OTP')
      }
      t.equal(gateway.requests.length, 2 * requests, 'no gap after a failed first SMS')
      t.match(await otpStateOf(service, phone), { challenge: null, sms: [] })

      gateway.behave()
      t.equal((await askForCode(service, phone)).status, 200)
      const code = codeIn(gateway.requests.at(-1)!)
      const live = await otpStateOf(service, phone)
      service.clock.advance(15)
      gateway.behave(behaviour)
      for (let attempt = 1; attempt <= 2; attempt++) {
        t.equal(failureOf(await askForCode(service, phone)), 'Failed to send OTP')
      }
      const after = await otpStateOf(service, phone)
      t.same([after?.challenge, after?.sms], [live?.challenge, live?.sms])
      gateway.behave()
      t.match(await submitCode(service, phone, code), { status: 200, body: { success: true } })
      t.same(leaksIn(service, { phone, codes: gateway.requests.map(codeIn) }), [])
      t.equal(loggedEvents(service, 'otp.failed').length - failures, 4)
    })
  }
})

t.test('A provider that gives no clear answer', async t => {
  const { 'is silent': isSilent, 'never comes to an end': neverEnds, ...answers } = unclear
  const endless = { 'is silent': isSilent!, 'never comes to an end': neverEnds! }
  const { resets, 'answers half': answersHalf } = unclear
  for (const { provider, through: { gateway, service }, behaviours } of [
    { provider: 'Twilio', through: list, behaviours: { ...answers, 'answers 504': gatewayError(504) } },
    { provider: 'Twilio', through: hastyList, behaviours: endless },
    {
      provider: 'An HTTP provider',
      through: http,
      behaviours: {
        resets: resets!,
        'answers half': answersHalf!,
        'answers what is no HTTP': ((response) => { response.socket?.end('SMTP ready\r\n\r\n') }) satisfies Behaviour,
        'closes without an answer': ((response) => { response.socket?.end() }) satisfies Behaviour,
        'answers 504': gatewayError(504)
      }
    },
    { provider: 'An HTTP provider', through: hastyHttp, behaviours: { 'is silent': isSilent! } }
  ]) {
    for (const [name, behaviour] of Object.entries(behaviours)) {
      t.test(
        `${provider} that ${name} may have sent the SMS: it counts, its code lives, and no other is asked`,
        async t => {
          const phone = freshPhone()
          gateway.behave(behaviour)
          for (let attempt = 1; attempt <= 2; attempt++) {
            t.same(answerOf(await askForCode(service, phone)), { status: 200, body: { message: 'OTP sent' } })
          }
          t.equal(gateway.requests.length, 1, 'the gap holds')
          t.equal((await otpStateOf(service, phone))?.sms.length, 1)
          t.match(loggedEvents(service, 'otp.sent').at(-1), { reason: 'unconfirmed' })
          const code = codeIn(gateway.requests.at(-1)!)
          t.match(
            await submitCode(service, phone, code),
            { status: 200, body: { success: true } },
            'the code that may have arrived is good'
          )
          for (let sent = 2; sent <= 5; sent++) {
            t.equal((await askForCode(service, phone)).status, 200)
            await ok(submitCode(service, phone, codeIn(gateway.requests.at(-1)!)))
          }
          t.equal((await askForCode(service, phone)).status, 429, 'and the budget is used up')
          t.equal(gateway.requests.length, 5)
          t.equal(first.requests.length + second.requests.length, 5, 'by one provider')
          t.same(leaksIn(service, { phone, codes: gateway.requests.map(codeIn) }), [])
        }
      )
    }
  }
})

t.test('Other providers', async t => {
  t.test('The HTTP provider gets JSON with a bearer token', async t => {
    const { gateway, service } = http
    const phone = freshPhone()
    t.equal((await askForCode(service, phone, { platform: 'android' })).status, 200)
    const [sent] = gateway.requests
    t.match(sent, {
      method: 'POST',
      url: '/send?to=sms',
      headers: { 'content-type': 'application/json', authorization: 'Bearer gateway-token' }
    })
    const code = codeIn(sent!)
    t.same(JSON.parse(sent!.body), { to: phone, body: `<#> Your Hookaba code is: ${code}\nFA+9qCX9VSu` })
    t.same(leaksIn(service, { phone, codes: [code] }), [])
  })

  t.test('A provider that does not listen is a 500, and neither gap nor budget is used', async t => {
    const closed = await start(t, { SMS_PROVIDER: 'http', SMS_HTTP_URL: 'http://127.0.0.1:1' }, {
      sendSms: undefined
    })
    const phone = freshPhone()
    for (let attempt = 1; attempt <= 4; attempt++) {
      t.equal(
        failureOf(await askForCode(closed, phone)),
        'Failed to send OTP'
      )
    }
    t.match(await otpStateOf(closed, phone), { challenge: null, sms: [] })
  })

  t.test('A list of providers is an order of fallback', async t => {
    const tried = async (status: number, { service } = list) => {
      first.requests.length = second.requests.length = 0
      t.equal((await askForCode(service, freshPhone())).status, status)
      return [first.requests.length, second.requests.length]
    }
    t.same(await tried(200), [1, 0], 'the first one does it')
    first.behave(refusing(500, 20500))
    t.same(await tried(200), [3, 1], 'the second one where the first failed')
    t.equal(codeIn(first.requests[0]!), codeIn(second.requests[0]!), 'with the same code')
    first.behave(unclear.resets!)
    t.same(await tried(200), [1, 0], 'but not where it may have sent the SMS')
    first.behave(refusing(400, 21211))
    t.same(await tried(400), [1, 0], 'a refused number is not tried again')
    first.behave(unclear['is silent']!)
    second.behave(gatewayError(500))
    t.same(await tried(200, hastyList), [1, 0])
    first.behave(refusing(401, 20003))
    t.same(await tried(500), [1, 1])
  })

  t.test('The console provider writes nothing but its one line', async t => {
    const written: string[] = []
    t.intercept(process.stdout, 'write', {
      value: (line: string, done?: () => void) => { written.push(line); done?.(); return true }
    })
    const service = await start(t, { SMS_PROVIDER: 'console' }, { sendSms: undefined })
    const phone = freshPhone()
    await ok(askForCode(service, phone))
    const [line, ...others] = written.filter(line => line.startsWith('SMS '))
    t.same(others, [])
    t.match(
      line,
      new RegExp(`^SMS \\{"to":"\\${phone}","body":"<#> Your Hookaba code is: \\d{6}\\\\nFA\\+9qCX9VSu"\\}\\n$`)
    )
  })
})

type Settings = Omit<ServiceOptions, 'env' | 'services'>

/** A service on the file's own database. Its guard is off unless `env` says otherwise. */
function start (t: Test, env: Record<string, string> = {}, settings: Settings = {}): Promise<Service> {
  return startService(t, { services, env: { FRAUD_MIN_SMS: '0', TRUST_PROXY: 'loopback', ...env }, ...settings })
}
