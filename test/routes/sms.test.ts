import { createHmac } from 'node:crypto'
import t, { type Test } from 'tap'
import { freshPhone } from '../helpers/accounts.js'
import { answerOf, failureOf, ok, refusal } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { askForCode, otpStateOf, submitCode } from '../helpers/codes.js'
import { leaksIn, loggedEvents } from '../helpers/logs.js'
import { type Reply, type Service, type ServiceOptions, startService } from '../helpers/service.js'
import {
  type Behaviour, codeIn, type Gateway, gatewayError, refusing, startGateway, unclear
} from '../helpers/sms-gateway.js'

const STATUS = '/webhooks/twilio/status'
const NO_PHONE = refusal({ phone: ['Not a valid phone number.'] })
/** Milliseconds: short for gateways that do not answer, long for those that do, however slow the machine is. */
const SHORT_MS = 600
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

t.test('Twilio', async t => {
  const gateway = await startGateway(t)
  const waits: number[] = []
  const env = { SMS_PROVIDER: 'twilio', ...TWILIO, TWILIO_API_URL: `${gateway.url}/`, PUBLIC_URL: `${PUBLIC_URL}/` }
  const settings = {
    sendSms: undefined,
    smsTimeoutMs: LONG_MS,
    smsRetry: { random: () => 0.75, wait: async (ms: number) => { waits.push(ms) } }
  }
  const service = await start(t, env, settings)
  const hasty = await start(t, env, { ...settings, smsTimeoutMs: SHORT_MS })
  const request = (phone: string, platform?: string) => askForCode(service, phone, { platform })
  t.beforeEach(() => {
    gateway.behave()
    gateway.requests.length = waits.length = 0
  })

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
    t.equal(form.StatusCallback, `${PUBLIC_URL}${STATUS}?reference=${service.clock.now.getTime()}`)
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

  for (const { name, behaviour, requests } of [
    { name: 'answers 429 for ever', behaviour: refusing(429, 20429), requests: 3 },
    { name: 'answers 500 for ever', behaviour: refusing(500, 20500), requests: 3 },
    { name: 'answers 502 in HTML for ever', behaviour: gatewayError(502), requests: 3 },
    { name: 'answers 400 for another reason', behaviour: refusing(400, 21606), requests: 1 },
    { name: 'answers 401', behaviour: refusing(401, 20003), requests: 1 },
    { name: 'redirects', behaviour: redirecting, requests: 1 }
  ]) {
    t.test(`Twilio that ${name} is a 500: the live code stays live, and neither gap nor budget is used`, async t => {
      await leavesNoTrace(t, service, gateway, behaviour, requests)
    })
  }

  for (const [name, behaviour] of Object.entries({ ...unclear, 'answers 504': gatewayError(504) })) {
    t.test(
      `Twilio that ${name} may have sent the SMS: it counts, its code lives, and no other is asked`,
      async t => {
        await countsAsSent(t, hasty, gateway, behaviour)
      }
    )
  }

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

  t.test('Twilio sends by WhatsApp where that is the channel, and reports nothing without PUBLIC_URL', async t => {
    const service = await start(
      t,
      { SMS_PROVIDER: 'twilio', ...TWILIO, TWILIO_API_URL: gateway.url, TWILIO_CHANNEL: 'whatsapp' },
      { sendSms: undefined }
    )
    const phone = freshPhone()
    t.equal((await askForCode(service, phone)).status, 200)
    const form = Object.fromEntries(new URLSearchParams(gateway.requests[0]?.body))
    t.match(form, { To: `whatsapp:${phone}`, From: 'whatsapp:+15005550006' })
    t.notOk('StatusCallback' in form)
    const { status, body } = await report(service, { MessageStatus: 'undelivered', To: `whatsapp:${phone}` })
    t.same([status, body], [403, { error: 'Signature does not match' }])
  })

  t.test(`POST ${STATUS}`, async t => {
    const reference = () => String(service.clock.now.getTime())
    /** The number of SMS that one request sends. */
    const sends = async (phone: string) => {
      const before = gateway.requests.length
      await ok(request(phone))
      return gateway.requests.length - before
    }

    t.test(
      'An SMS that never arrived frees the gap, stays in the budget, and the next one repeats its code',
      async t => {
        for (const [MessageStatus, channel] of [
          ['undelivered', ''],
          ['failed', ''],
          ['undelivered', 'whatsapp:']
        ] as const) {
          const phone = freshPhone()
          const sentAt = reference()
          t.same([await sends(phone), await sends(phone)], [1, 0])
          service.clock.advance(1)
          const told = await report(
            service,
            { MessageStatus, To: channel + phone, ErrorCode: '30003', SmsSid: 'SM1' },
            sentAt
          )
          t.same([told.status, told.text], [204, ''])
          t.same([await sends(phone), await sends(phone)], [1, 0], 'one SMS, and then the gap holds again')
          t.equal(codeIn(gateway.requests.at(-1)!), codeIn(gateway.requests.at(-2)!))
          t.equal((await otpStateOf(service, phone))?.sms.length, 2)
          t.match(loggedEvents(service, 'otp.undelivered').at(-1), {
            error_code: '30003',
            phone: `+********${phone.slice(-4)}`
          })
          t.notOk('reason' in loggedEvents(service, 'otp.undelivered').at(-1)!)
        }
        t.match(
          (await ok(service.call('GET', '/metrics'))).text,
          /^hookaba_events_total\{event="otp.undelivered",reason=""\} 3$/m
        )
      }
    )

    t.test('A report on an earlier SMS, a second one, and one on another status change nothing', async t => {
      const phone = freshPhone()
      const first = reference()
      await sends(phone)
      for (const MessageStatus of ['queued', 'sent', 'delivered', 'read', '', 'UNDELIVERED']) {
        t.equal((await report(service, { MessageStatus, To: phone }, first)).status, 204)
      }
      t.equal((await report(service, { To: phone }, first)).status, 204)
      t.equal(await sends(phone), 0)
      service.clock.advance(15)
      const second = reference()
      t.equal(await sends(phone), 1)
      const before = await otpStateOf(service, phone)
      t.equal((await report(service, { MessageStatus: 'undelivered', To: phone }, first)).status, 204)
      t.same(await otpStateOf(service, phone), before)
      t.match(loggedEvents(service, 'otp.undelivered').at(-1), { reason: 'late' })
      for (let times = 1; times <= 2; times++) {
        t.equal((await report(service, { MessageStatus: 'undelivered', To: phone }, second)).status, 204)
      }
      t.not((await otpStateOf(service, phone))?.write_id, before!.write_id)
      service.clock.advance(1)
      t.same([await sends(phone), await sends(phone)], [1, 0])
    })

    t.test(
      'A report without a reference is about the last SMS; unknown and missing numbers change nothing',
      async t => {
        const phone = freshPhone()
        await sends(phone)
        service.clock.advance(1)
        t.equal((await report(service, { MessageStatus: 'undelivered', To: phone })).status, 204)
        t.equal(await sends(phone), 1)
        const stranger = freshPhone()
        for (const To of [stranger, 'nobody', '']) {
          t.equal((await report(service, { MessageStatus: 'undelivered', To }, reference())).status, 204)
        }
        t.equal(await otpStateOf(service, stranger), undefined)
      }
    )

    t.test(
      'A report without Twilio\'s own signature over the very URL and form is 403, and nothing changes',
      async t => {
        const phone = freshPhone()
        const sentAt = reference()
        await sends(phone)
        const form = { MessageStatus: 'undelivered', To: phone, ErrorCode: '30005' }
        const path = `${STATUS}?reference=${sentAt}`
        const right = signature(PUBLIC_URL + path, form)
        const another = { ...form, To: freshPhone() }
        for (const { name, value, at = path, sent = form } of [
          { name: 'none', value: undefined },
          { name: 'empty', value: '' },
          { name: 'of another token', value: signature(PUBLIC_URL + path, form, 'another-token') },
          { name: 'of another URL', value: signature(`https://elsewhere.example.com${path}`, form) },
          { name: 'of this server\'s own address', value: signature(service.url + path, form) },
          { name: 'of another query', value: right, at: `${STATUS}?reference=${Number(sentAt) + 1}` },
          { name: 'of another form', value: right, sent: another },
          { name: 'of a form with one member less', value: right, sent: { ...form, Extra: '1' } },
          { name: 'in hexadecimal', value: Buffer.from(right, 'base64').toString('hex') },
          { name: 'cut short', value: right.slice(0, -4) }
        ]) {
          t.match(
            await post(service, at, sent, value),
            { status: 403, body: { error: 'Signature does not match' } },
            name
          )
        }
        t.equal((await service.call('POST', path, { headers: { 'x-twilio-signature': right } })).status, 403, 'no body')
        t.equal(await sends(phone), 0)
        t.equal((await post(service, path, form, right)).status, 204)
        service.clock.advance(1)
        t.equal(await sends(phone), 1)
      }
    )

    t.test('A report is read only from a small form', async t => {
      t.equal((await service.call('POST', STATUS, { json: { MessageStatus: 'undelivered' } })).status, 415)
      t.equal((await service.call('POST', STATUS, { body: new FormData() })).status, 415)
      t.equal((await report(service, { To: 'x'.repeat(20_000) })).status, 413)
      t.equal((await service.call('GET', STATUS)).status, 405)
      const twice = new URLSearchParams([['To', '1'], ['To', '2']])
      t.equal(
        (await post(service, STATUS, twice, signature(PUBLIC_URL + STATUS, { To: '1To2' }))).status,
        400,
        'a member given twice is no string'
      )
      for (const body of ['__proto__=1&To=2', 'constructor=1&To=2', '%', '=&=&&', 'To=%ff']) {
        t.equal(
          (await service.call('POST', STATUS, {
            body,
            headers: { 'content-type': 'application/x-www-form-urlencoded' }
          })).status,
          403,
          body
        )
      }
    })
  })
})

t.test('Other providers', async t => {
  t.test('The HTTP provider gets JSON with a bearer token', async t => {
    const { service, hasty, gateway } = await withHttp(t)
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

    for (const [name, behaviour] of Object.entries({
      'answers 400': gatewayError(400),
      'answers 429': gatewayError(429),
      'answers 500': gatewayError(500),
      redirects: redirecting
    })) {
      t.test(
        `An HTTP provider that ${name} is a 500: the live code stays live, and neither gap nor budget is used`,
        async t => {
          await leavesNoTrace(t, service, gateway, behaviour, 1)
        }
      )
    }

    const { resets, 'is silent': isSilent, 'answers half': answersHalf } = unclear
    for (const [name, behaviour] of Object.entries({
      resets: resets!,
      'is silent': isSilent!,
      'answers half': answersHalf!,
      'answers what is no HTTP': ((response) => { response.socket?.end('SMTP ready\r\n\r\n') }) satisfies Behaviour,
      'closes without an answer': ((response) => { response.socket?.end() }) satisfies Behaviour,
      'answers 504': gatewayError(504)
    })) {
      t.test(
        `A provider that ${name} may have sent the SMS: it counts, its code lives, and no other is asked`,
        async t => {
          await countsAsSent(t, hasty, gateway, behaviour)
        }
      )
    }

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
  })

  t.test('A list of providers is an order of fallback', async t => {
    const [first, second] = [await startGateway(t), await startGateway(t)]
    const env = { SMS_PROVIDER: 'twilio,http', ...TWILIO, TWILIO_API_URL: first.url, SMS_HTTP_URL: second.url }
    const settings = { sendSms: undefined, smsTimeoutMs: LONG_MS, smsRetry: { random: () => 0, wait: async () => {} } }
    const service = await start(t, env, settings)
    const hasty = await start(t, env, { ...settings, smsTimeoutMs: SHORT_MS })
    const tried = async (status: number, by = service) => {
      first.requests.length = second.requests.length = 0
      t.equal((await askForCode(by, freshPhone())).status, status)
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
    t.same(await tried(200, hasty), [1, 0])
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

async function withHttp (t: Test) {
  const gateway = await startGateway(t)
  const env = { SMS_PROVIDER: 'http', SMS_HTTP_URL: `${gateway.url}/send?to=sms`, SMS_HTTP_TOKEN: 'gateway-token' }
  const [service, hasty] = [
    await start(t, env, { sendSms: undefined, smsTimeoutMs: LONG_MS }),
    await start(t, env, { sendSms: undefined, smsTimeoutMs: SHORT_MS })
  ]
  return { gateway, service, hasty }
}

async function countsAsSent (
  t: Test,
  service: Service,
  gateway: Gateway,
  behaviour: Behaviour
): Promise<void> {
  const phone = freshPhone()
  const before = gateway.requests.length
  gateway.behave(behaviour)
  for (let attempt = 1; attempt <= 2; attempt++) {
    t.same(answerOf(await askForCode(service, phone)), { status: 200, body: { message: 'OTP sent' } })
  }
  t.equal(gateway.requests.length - before, 1, 'the gap holds')
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
  t.equal(gateway.requests.length - before, 5)
  gateway.behave()
  t.same(leaksIn(service, { phone, codes: gateway.requests.slice(before).map(codeIn) }), [])
}

async function leavesNoTrace (
  t: Test,
  service: Service,
  gateway: Gateway,
  behaviour: Behaviour,
  requests: number
): Promise<void> {
  const phone = freshPhone()
  const [before, failures] = [gateway.requests.length, loggedEvents(service, 'otp.failed').length]
  gateway.behave(behaviour)
  for (let attempt = 1; attempt <= 2; attempt++) {
    t.equal(failureOf(await askForCode(service, phone)), 'Failed to send OTP')
  }
  t.equal(gateway.requests.length - before, 2 * requests, 'no gap after a failed first SMS')
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
  t.same(leaksIn(service, { phone, codes: gateway.requests.slice(before).map(codeIn) }), [])
  t.equal(loggedEvents(service, 'otp.failed').length - failures, 4)
}

/** Twilio's manual, "Security": the URL and the sorted form, without separators. */
function signature (url: string, form: Record<string, string>, token = TWILIO.TWILIO_AUTH_TOKEN): string {
  const text = url + Object.keys(form).sort().map(name => name + form[name]).join('')
  return createHmac('sha1', token).update(text).digest('base64')
}

/** Posts a report as Twilio does. */
function report (service: Service, form: Record<string, string>, reference?: string): Promise<Reply> {
  const path = reference === undefined ? STATUS : `${STATUS}?reference=${reference}`
  return post(service, path, form, signature(PUBLIC_URL + path, form))
}

function post (
  { call }: Service,
  path: string,
  form: Record<string, string> | URLSearchParams,
  signature: string | undefined
): Promise<Reply> {
  return call('POST', path, {
    body: new URLSearchParams(form),
    headers: signature === undefined ? {} : { 'x-twilio-signature': signature }
  })
}
