import { createHmac } from 'node:crypto'
import t, { type Test } from 'tap'
import { stateOf } from '../../services/login/otp-store.js'
import { burstOf } from '../helpers/pipelined-posts.js'
import { codeIn, refusing, startGateway, unclear, type Behaviour } from '../helpers/sms-gateway.js'
import { auditOf, freshPhone } from '../helpers/accounts.js'
import { startService, type Reply, type Service } from '../helpers/service.js'
import { startServices } from '../helpers/backends.js'

const REQUEST = '/auth/request-otp'
const VERIFY = '/auth/verify-otp'
const STATUS = '/webhooks/twilio/status'
const INVALID = { success: false, message: 'Invalid OTP' }
const NO_PHONE = { errors: { phone: ['Not a valid phone number.'] } }
const TOO_MANY_TEXTS = { error: 'Too many codes requested' }
const TOO_MANY_GUESSES = { error: 'Too many wrong codes' }
/** Milliseconds: short for gateways that do not answer, long for those that do, however slow the machine is. */
const SHORT_MS = 600
const LONG_MS = 60_000
const TWILIO = {
  TWILIO_ACCOUNT_SID: 'AC00000000000000000000000000000001',
  TWILIO_AUTH_TOKEN: 'twilio-auth-token',
  TWILIO_PHONE_NUMBER: '+15005550006'
}
const PUBLIC_URL = 'https://api.example.com/v1'
/** Settings for a provider that costs money. The SMS are kept, not sent. */
const COSTLY = { SMS_PROVIDER: 'http', SMS_HTTP_URL: 'http://gateway.invalid' }
const DAY = 86_400

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
  const request = (phone: string, platform?: string) => requestOtp(service, phone, { platform })
  t.beforeEach(() => {
    gateway.behave()
    gateway.requests.length = waits.length = 0
  })

  t.test('gets a form with basic authentication', async t => {
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
    t.match((await verify(service, phone, codeIn(sent!))).body, { success: true })
  })

  t.test(
    '21211, 21408, 21610 and 21614 are the number\'s fault, are not retried, and count as an SMS',
    async t => {
      for (const code of [21211, 21408, 21610, 21614]) {
        gateway.requests.length = 0
        gateway.behave(refusing(400, code))
        const phone = freshPhone()
        for (let text = 1; text <= 5; text++) t.same(answer(await request(phone)), [400, NO_PHONE])
        t.equal(gateway.requests.length, 5, 'there is no live code, so no gap')
        const sixth = await request(phone)
        t.same([sixth.status, sixth.headers.get('retry-after')], [429, '600'])
        t.equal(gateway.requests.length, 5)
        noLeak(t, service, phone, gateway.requests.map(codeIn))
      }
      gateway.behave(response => {
        response.writeHead(400, { 'content-type': 'application/problem+json' }).end(JSON.stringify({
          type: 'https://www.twilio.com/docs/errors/21211',
          title: 'Invalid number',
          status: 400,
          code: 21211
        }))
      })
      t.same(answer(await request(freshPhone())), [400, NO_PHONE], 'also as a problem of RFC 9457')
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
      for (let text = 1; text <= 3; text++) statuses.push((await requestOtp(limited, freshPhone())).status)
      t.same(statuses, [400, 400, 429], 'for the address too')
    }
  )

  t.test('is asked again at most twice after a 429 or 5xx, with full jitter', async t => {
    for (const behaviour of [refusing(429, 20429), refusing(500, 20500), refusing(503, 20503), gatewayError(502)]) {
      for (const failures of [1, 2]) {
        gateway.requests.length = waits.length = 0
        gateway.behave(...Array(failures).fill(behaviour), taken)
        const phone = freshPhone()
        t.equal((await request(phone)).status, 200)
        t.equal(gateway.requests.length, failures + 1)
        t.equal(new Set(gateway.requests.map(codeIn)).size, 1, 'with the same code')
        t.same(waits, [150, 300].slice(0, failures))
        t.equal((await stored(service, phone))?.sms.length, 1, 'which is one text')
      }
    }
  })

  const failures: Array<[name: string, behaviour: Behaviour, requests: number]> = [
    ['answers 429 for ever', refusing(429, 20429), 3],
    ['answers 500 for ever', refusing(500, 20500), 3],
    ['answers 502 in HTML for ever', gatewayError(502), 3],
    ['answers 400 for another reason', refusing(400, 21606), 1],
    ['answers 401', refusing(401, 20003), 1],
    ['redirects', response => { response.writeHead(307, { location: '/elsewhere' }).end() }, 1]
  ]
  for (const [name, behaviour, requests] of failures) {
    t.test(
      `that ${name} was asked ${requests === 1 ? 'once' : 'three times'}: 500, the code that was live stays live, and neither gap nor budget is used`,
      async t => {
        await leavesNoTrace(t, service, gateway, behaviour, requests)
      }
    )
  }

  for (const [name, behaviour] of Object.entries({ ...unclear, 'answers 504': gatewayError(504) })) {
    t.test(
      `that ${name} may have sent the SMS: 200, it counts, its code lives, and no provider is asked again`,
      async t => {
        await countsAsSent(t, hasty, gateway, behaviour)
      }
    )
  }

  t.test('that stays busy until the time is up is asked no more, and one that speaks no TLS once', async t => {
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
    failed(t, await requestOtp(patient, freshPhone()))
    t.equal(gateway.requests.length, 1)
    const plain = await start(
      t,
      { SMS_PROVIDER: 'twilio', ...TWILIO, TWILIO_API_URL: gateway.url.replace('http:', 'https:') },
      { sendSms: undefined }
    )
    const phone = freshPhone()
    failed(t, await requestOtp(plain, phone))
    t.match(await stored(plain, phone), { challenge: null, sms: [] })
    t.equal(gateway.requests.length, 1)
  })

  t.test('WhatsApp, where that is the channel; no report is asked for without PUBLIC_URL', async t => {
    const service = await start(
      t,
      { SMS_PROVIDER: 'twilio', ...TWILIO, TWILIO_API_URL: gateway.url, TWILIO_CHANNEL: 'whatsapp' },
      { sendSms: undefined }
    )
    const phone = freshPhone()
    t.equal((await requestOtp(service, phone)).status, 200)
    const form = Object.fromEntries(new URLSearchParams(gateway.requests[0]?.body))
    t.match(form, { To: `whatsapp:${phone}`, From: 'whatsapp:+15005550006' })
    t.notOk('StatusCallback' in form)
    const { status, body } = await report(service, { MessageStatus: 'undelivered', To: `whatsapp:${phone}` })
    t.same([status, body], [403, { error: 'Signature does not match' }])
  })

  t.test(`POST ${STATUS}`, async t => {
    const reference = () => String(service.clock.now.getTime())
    const sends = async (phone: string) => {
      const before = gateway.requests.length
      t.equal((await request(phone)).status, 200)
      return gateway.requests.length - before
    }

    t.test(
      'an SMS that never arrived frees the gap, stays in the budget, and the next one repeats its code',
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
          t.same([await sends(phone), await sends(phone)], [1, 0], 'one text, and then the gap holds again')
          t.equal(codeIn(gateway.requests.at(-1)!), codeIn(gateway.requests.at(-2)!))
          t.equal((await stored(service, phone))?.sms.length, 2)
          t.match(events(service, 'otp.undelivered').at(-1), {
            error_code: '30003',
            phone: `+********${phone.slice(-4)}`
          })
          t.notOk('reason' in events(service, 'otp.undelivered').at(-1)!)
        }
        t.match(
          (await service.call('GET', '/metrics')).text,
          /^hookaba_events_total\{event="otp.undelivered",reason=""\} 3$/m
        )
      }
    )

    t.test('a report on an earlier SMS, a second one, and one on another status change nothing', async t => {
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
      const before = await stored(service, phone)
      t.equal((await report(service, { MessageStatus: 'undelivered', To: phone }, first)).status, 204)
      t.same(await stored(service, phone), before)
      t.match(events(service, 'otp.undelivered').at(-1), { reason: 'late' })
      for (let times = 1; times <= 2; times++) {
        t.equal((await report(service, { MessageStatus: 'undelivered', To: phone }, second)).status, 204)
      }
      t.not((await stored(service, phone))?.write_id, before!.write_id)
      service.clock.advance(1)
      t.same([await sends(phone), await sends(phone)], [1, 0])
    })

    t.test(
      'a report without a reference is about the last SMS; unknown and missing numbers change nothing',
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
        t.equal(await stored(service, stranger), undefined)
      }
    )

    t.test('without Twilio\'s own signature over the very URL and form: 403, and nothing changes', async t => {
      const phone = freshPhone()
      const sentAt = reference()
      await sends(phone)
      const form = { MessageStatus: 'undelivered', To: phone, ErrorCode: '30005' }
      const path = `${STATUS}?reference=${sentAt}`
      const right = signature(PUBLIC_URL + path, form)
      const forged: Array<[string, string | undefined, string, Record<string, string>]> = [
        ['none', undefined, path, form],
        ['empty', '', path, form],
        ['of another token', signature(PUBLIC_URL + path, form, 'another-token'), path, form],
        ['of another URL', signature(`https://elsewhere.example.com${path}`, form), path, form],
        ['of this server\'s own address', signature(service.url + path, form), path, form],
        ['of another query', right, `${STATUS}?reference=${Number(sentAt) + 1}`, form],
        ['of another form', right, path, { ...form, To: freshPhone() }],
        ['of a form with one member less', right, path, { ...form, Extra: '1' }],
        ['in hexadecimal', Buffer.from(right, 'base64').toString('hex'), path, form],
        ['cut short', right.slice(0, -4), path, form]
      ]
      for (const [name, value, at, sent] of forged) {
        const { status, body } = await post(service, at, sent, value)
        t.same([status, body], [403, { error: 'Signature does not match' }], name)
      }
      t.equal((await service.call('POST', path, { headers: { 'x-twilio-signature': right } })).status, 403, 'no body')
      t.equal(await sends(phone), 0)
      t.equal((await post(service, path, form, right)).status, 204)
      service.clock.advance(1)
      t.equal(await sends(phone), 1)
    })

    t.test('reads forms, and small ones, only', async t => {
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

t.test('other providers', async t => {
  t.test('http: JSON with a bearer token', async t => {
    const { service, hasty, gateway } = await withHttp(t)
    const phone = freshPhone()
    t.equal((await requestOtp(service, phone, { platform: 'android' })).status, 200)
    const [sent] = gateway.requests
    t.match(sent, {
      method: 'POST',
      url: '/send?to=sms',
      headers: { 'content-type': 'application/json', authorization: 'Bearer gateway-token' }
    })
    const code = codeIn(sent!)
    t.same(JSON.parse(sent!.body), { to: phone, body: `<#> Your Hookaba code is: ${code}\nFA+9qCX9VSu` })
    noLeak(t, service, phone, [code])

    for (const [name, behaviour] of Object.entries({
      'answers 400': gatewayError(400),
      'answers 429': gatewayError(429),
      'answers 500': gatewayError(500),
      redirects: ((response) => { response.writeHead(307, { location: '/elsewhere' }).end() }) satisfies Behaviour
    })) {
      t.test(`that ${name}: 500, the code that was live stays live, and neither gap nor budget is used`, async t => {
        await leavesNoTrace(t, service, gateway, behaviour, 1)
      })
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
        `that ${name} may have sent the SMS: 200, it counts, its code lives, and no provider is asked again`,
        async t => {
          await countsAsSent(t, hasty, gateway, behaviour)
        }
      )
    }

    t.test('that does not listen has sent nothing: 500, and neither gap nor budget is used', async t => {
      const closed = await start(t, { SMS_PROVIDER: 'http', SMS_HTTP_URL: 'http://127.0.0.1:1' }, {
        sendSms: undefined
      })
      const phone = freshPhone()
      for (let attempt = 1; attempt <= 4; attempt++) failed(t, await requestOtp(closed, phone))
      t.match(await stored(closed, phone), { challenge: null, sms: [] })
    })
  })

  t.test('a list is an order of fallback', async t => {
    const [first, second] = [await startGateway(t), await startGateway(t)]
    const env = { SMS_PROVIDER: 'twilio,http', ...TWILIO, TWILIO_API_URL: first.url, SMS_HTTP_URL: second.url }
    const settings = { sendSms: undefined, smsTimeoutMs: LONG_MS, smsRetry: { random: () => 0, wait: async () => {} } }
    const service = await start(t, env, settings)
    const hasty = await start(t, env, { ...settings, smsTimeoutMs: SHORT_MS })
    const tried = async (status: number, by = service) => {
      first.requests.length = second.requests.length = 0
      t.equal((await requestOtp(by, freshPhone())).status, status)
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

  t.test('console: nothing but its one line', async t => {
    const written: string[] = []
    t.intercept(process.stdout, 'write', {
      value: (line: string, done?: () => void) => { written.push(line); done?.(); return true }
    })
    const service = await start(t, { SMS_PROVIDER: 'console' }, { sendSms: undefined })
    const phone = freshPhone()
    await requestOtp(service, phone)
    const [line, ...others] = written.filter(line => line.startsWith('SMS '))
    t.same(others, [])
    t.match(
      line,
      new RegExp(`^SMS \\{"to":"\\${phone}","body":"<#> Your Hookaba code is: \\d{6}\\\\nFA\\+9qCX9VSu"\\}\\n$`)
    )
  })
})

t.test('the numbers that an SMS may be sent to', async t => {
  const service = await start(t, { ...COSTLY, SMS_ALLOWED_COUNTRIES: 'IN,US' })
  const elsewhere = [
    '+447911123456', '+919', '+911123456789', '+911234567890', '+15551234567', '+18002345678', '+80012345678',
    '+919999999999999', '1234567890'
  ]
  for (const phone of elsewhere) t.same(answer(await requestOtp(service, phone)), [400, NO_PHONE], phone)
  t.same(service.sms, [])
  for (const phone of [freshPhone(), '+12025550123']) t.equal((await requestOtp(service, phone)).status, 200, phone)
  t.equal(
    (await verify(service, '+15551234567', '123456')).status,
    200,
    'only a text needs more than a possible number'
  )
  await service.app.close()
  const onALaptop = await start(t)
  t.equal((await requestOtp(onALaptop, '+15551234567')).status, 200, 'on the console every possible number will do')
})

t.test('test numbers', async t => {
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

  t.test('get a code without an SMS, a gap, a budget or a count', async t => {
    const before = await counts()
    for (let times = 1; times <= 12; times++) {
      t.same(answer(await requestOtp(service, '099999 00000')), [200, { message: 'OTP sent' }])
    }
    t.same((await requestOtp(service, '+15551230000')).status, 200, 'also one that takes no texts')
    t.match((await verify(service, number, '012345')).body, { success: true })
    t.match((await verify(service, '+15551230000', '654321')).body, { success: true })
    t.same(service.sms, [])
    t.same(await counts(), before)
    t.same((await stored(service, number))?.sms, [])
    for (const event of ['otp.requested', 'otp.verified']) {
      t.match(events(service, event).at(-1), { reason: 'test number' })
    }
    await service.app.audit.flush()
    t.ok((await auditOf(service.app, number)).some(({ event, details }) =>
      event === 'otp.verified' && details.reason === 'test number'))
  })

  t.test('a code is theirs alone, needs a request, gives one token and allows five tries', async t => {
    const phone = freshPhone()
    await requestOtp(service, phone)
    if (service.lastCode(phone) !== '012345') t.same((await verify(service, phone, '012345')).body, INVALID)
    t.same((await verify(service, number, '012345')).body, INVALID, 'used')
    await requestOtp(service, number)
    for (let tries = 1; tries <= 5; tries++) t.same((await verify(service, number, '654321')).body, INVALID)
    t.same((await verify(service, number, '012345')).body, INVALID, 'exhausted')
    await requestOtp(service, number)
    for (let tries = 6; tries <= 10; tries++) t.same((await verify(service, number, '000000')).body, INVALID)
    await requestOtp(service, number)
    const tenth = await verify(service, number, '012345')
    t.same([...answer(tenth), tenth.headers.get('retry-after')], [429, TOO_MANY_GUESSES, '1'], 'the phone waits')
    service.clock.advance(1)
    const answers = await burstOf(t, service)(Array.from({ length: 20 }, () => ({
      path: VERIFY,
      json: { phone: number, otp: '012345' }
    })))
    t.equal(answers.filter(({ body }) => body.success).length, 1)
  })

  t.test('are numbers like any other when their time is over', async t => {
    service.clock.now = new Date('2126-05-20T23:59:50Z')
    const signIn = async (refresh: boolean) => {
      await requestOtp(service, number)
      return (await service.call('POST', VERIFY, { json: { phone: number, otp: '012345', refresh } })).body
    }
    t.match(await signIn(false), { success: true, expires_in: 10 }, 'a session ends with them')
    const { refresh_token: first } = await signIn(true)
    const { status, body } = await service.call('POST', '/auth/refresh', { json: { refresh_token: first } })
    t.match([status, body], [200, { expires_in: 10 }])
    service.clock.now = new Date('2126-05-20T23:59:59.999Z')
    await requestOtp(service, number)
    t.match((await verify(service, number, '012345')).body, { success: true })
    await requestOtp(service, number)
    service.clock.advance(0.001)
    t.same((await verify(service, number, '012345')).body, INVALID)
    t.equal((await service.call('POST', '/auth/refresh', { json: { refresh_token: body.refresh_token } })).status, 401)
    service.clock.advance(DAY)
    t.equal((await requestOtp(service, number)).status, 200)
    t.equal(service.sms.at(-1)?.to, number)
    t.same(answer(await requestOtp(service, '+15551230000')), [400, NO_PHONE])
  })
})

t.test('blocked phones', async t => {
  const service = await start(t, {
    ...COSTLY,
    LIMIT_SMS_PER_ADDRESS: '3',
    SMS_HOURLY_CAP: '100000',
    TRUST_PROXY: 'off'
  })
  const blocked = freshPhone()
  await service.signIn(blocked)
  await service.app.collections.users.updateOne({ number: blocked }, { $set: { blocked: true, sessions: [] } })
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
  const textsBefore = service.sms.length
  t.equal((await both(phone => requestOtp(service, phone))).status, 200)
  t.equal((await both(phone => requestOtp(service, phone))).status, 200, 'inside the gap')
  t.same((await both(phone => verify(service, phone, '12345'))).body, INVALID)
  for (let text = 2; text <= 3; text++) {
    for (let tries = 1; tries <= 5; tries++) await verify(service, blocked, String(tries).repeat(6))
    await verify(service, free, service.lastCode(free))
    await both(phone => requestOtp(service, phone))
  }
  t.same(service.sms.slice(textsBefore).map(({ to }) => to), Array(3).fill(free), 'and no text')
  t.equal((await requestOtp(service, freshPhone())).status, 429, 'the address had three texts, not six')
  const { sms } = (await stored(service, blocked))!
  t.equal(sms.length, 3)
  t.equal((await stored(service, free))?.sms.length, 3)
  t.equal(await sentThisHour(service), 3)

  const unblocked = freshPhone()
  service.clock.advance(DAY)
  await requestOtp(service, unblocked)
  await service.app.collections.users.updateOne({ number: blocked }, { $set: { number: unblocked } })
  t.same(
    (await verify(service, unblocked, service.lastCode(unblocked))).body,
    INVALID,
    'blocked while the text was on its way'
  )
  await service.app.collections.users.updateOne({ number: unblocked }, { $set: { blocked: false } })
  await requestOtp(service, unblocked)
  t.match((await verify(service, unblocked, service.lastCode(unblocked))).body, { success: true })
})

t.test('limits of a client address', async t => {
  t.test('SMS, counted when they are sent, strictly, and after the gap', async t => {
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
    for (let text = 1; text <= 5; text++) t.equal((await from('198.51.100.1')).status, 500)
    gateway.behave()
    const first = freshPhone()
    t.equal((await from('198.51.100.1', first)).status, 200)
    service.clock.advance(10)
    for (let text = 2; text <= 3; text++) t.equal((await from('::ffff:198.51.100.1')).status, 200)
    const fourth = await from('198.51.100.1')
    t.same([...answer(fourth), fourth.headers.get('retry-after')], [429, TOO_MANY_TEXTS, '290'])
    t.equal((await from('198.51.100.1', first)).status, 200, 'inside the gap: quiet')
    t.equal(gateway.requests.length, 5 + 3)
    t.equal((await from('198.51.100.2')).status, 200, 'another address has its own')
    service.clock.advance(289.999)
    t.equal((await from('198.51.100.1')).headers.get('retry-after'), '1')
    service.clock.advance(0.001)
    t.equal((await from('198.51.100.1')).status, 200, 'as the first one is five minutes old')
    t.equal((await from('198.51.100.1')).headers.get('retry-after'), '10')
    t.match(events(service, 'otp.limited').at(-1), { reason: 'address', phone: null })

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

  t.test('one guess at ten thousand phones is at most a hundred guesses', async t => {
    const service = await start(t, { LIMIT_FAILURES_PER_ADDRESS: '100', TRUST_PROXY: 'loopback' })
    const phone = freshPhone()
    await requestOtp(service, phone)
    const burst = burstOf(t, service)
    const statuses: number[] = []
    for (let share = 1; share <= 20; share++) {
      const answers = await burst(Array.from({ length: 500 }, () => ({
        path: VERIFY,
        json: { phone: freshPhone(), otp: '123456' }
      })))
      statuses.push(...answers.map(({ status }) => status))
    }
    t.same([200, 429].map(wanted => statuses.filter(status => status === wanted).length), [100, 9900])
    const right = await verify(service, phone, service.lastCode(phone))
    t.same(
      [...answer(right), right.headers.get('retry-after')],
      [429, TOO_MANY_GUESSES, '300'],
      'a right one is refused as well'
    )
    const elsewhere = await service.call('POST', VERIFY, {
      json: { phone, otp: service.lastCode(phone) },
      headers: { 'x-forwarded-for': '198.51.100.7' }
    })
    t.match(elsewhere.body, { success: true }, 'for that address alone')
    t.match(events(service, 'otp.locked').at(-1), { reason: 'address', phone: null })
    await service.app.audit.flush()
    const rows = await service.app.collections.audit.find({ event: 'otp.locked', phone: null }).toArray()
    t.equal(rows.reduce((sum, { count }) => sum + count, 0), 9901)
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
    'a right code is no failure, nor is one that is submitted again, a malformed one is, and five minutes later all is well',
    async t => {
      const service = await start(t, { LIMIT_FAILURES_PER_ADDRESS: '3' })
      for (let times = 1; times <= 5; times++) {
        const { phone } = await service.signIn()
        t.same((await verify(service, phone, service.lastCode(phone))).body, INVALID)
        service.clock.advance(1)
        await requestOtp(service, phone)
        const twice = await Promise.all([1, 2].map(() => verify(service, phone, service.lastCode(phone))))
        t.same(twice.map(({ body }) => body.success).sort(), [false, true])
      }
      const { phone } = await service.signIn()
      t.same(
        (await verify(service, phone, service.lastCode(phone) === '123456' ? '123457' : '123456')).body,
        INVALID,
        'another code is a failure'
      )
      service.clock.advance(300)
      for (const otp of ['123', '123456', '654321']) t.same((await verify(service, freshPhone(), otp)).body, INVALID)
      t.equal((await verify(service, freshPhone(), '123456')).status, 429)
      t.equal((await verify(service, 'nobody', '123456')).status, 400)
      service.clock.advance(300)
      t.match((await service.signIn()).token, /^ey/)
    }
  )
})

t.test('caps of the service', async t => {
  t.test('hold for two processes on one database, strictly; a failed SMS is given back; one line at 80 %', async t => {
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
    t.equal((await requestOtp(pair[0], first)).status, 200)
    t.same(await ask(7), [14, 0, 0])
    const alarms = () => pair.flatMap(service => events(service, 'sms.cap_approached')).map(
      ({ window, sent, cap, level }) => ({ window, near: sent >= 0.8 * cap, cap, level })
    )
    t.same(alarms(), [])
    t.same(await ask(25), [5, 45, 0], 'a race included')
    t.same(alarms(), [{ window: 'hour', near: true, cap: 20, level: 40 }])
    for (const service of pair) {
      const { status, body, headers } = await requestOtp(service, freshPhone())
      t.same([status, body, headers.get('retry-after')], [429, TOO_MANY_TEXTS, '3000'], 'until the hour is over')
      t.match(events(service, 'otp.limited').at(-1), { reason: 'hourly cap' })
    }
    t.equal((await requestOtp(pair[1], first)).status, 200, 'inside the gap: quiet')

    advance(3000)
    t.same(await ask(20), [10, 30, 0])
    const { headers } = await requestOtp(pair[0], freshPhone())
    t.equal(headers.get('retry-after'), String(23 * 3600), 'until the first hour of the last 24 is over')
    t.match(events(pair[0], 'otp.limited').at(-1), { reason: 'daily cap' })
    t.same(alarms().filter(({ window }) => window === 'day'), [{ window: 'day', near: true, cap: 30, level: 40 }])
    t.equal(gateway.requests.length, 10 + 30)
    advance(23 * 3600)
    t.same(await ask(1), [2, 0, 0])
    const unused = await pair[0].app.collections.otps.countDocuments({
      'challenge.issued_at': { $gte: new Date('2126-08-12') }
    })
    t.equal(unused, 32, 'a phone without an SMS has no code')
  })

  t.test('count nothing and stop no phone on the console, until they are set', async t => {
    const free = await start(t)
    free.clock.advance(200 * DAY)
    for (let text = 1; text <= 3; text++) t.equal((await requestOtp(free, freshPhone())).status, 200)
    t.equal(await sentThisHour(free), 0)
    const capped = await start(t, { SMS_DAILY_CAP: '2' })
    capped.clock.advance(200 * DAY)
    for (const status of [200, 200, 429]) t.equal((await requestOtp(capped, freshPhone())).status, status)
  })
})

interface Options { platform?: string }
type Settings = Omit<NonNullable<Parameters<typeof startService>[1]>, 'env' | 'services'>

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

/** Each request comes from a client address of its own, unless the service trusts no proxy. */
function requestOtp ({ call }: Service, phone: string, options: Options = {}): Promise<Reply> {
  return call('POST', REQUEST, { json: { phone, ...options }, headers: { 'x-forwarded-for': anAddress() } })
}

let lastAddress = 0
function anAddress (): string {
  lastAddress++
  return `10.${lastAddress >> 16}.${(lastAddress >> 8) & 255}.${lastAddress & 255}`
}

function verify ({ call }: Service, phone: string, otp: string): Promise<Reply> {
  return call('POST', VERIFY, { json: { phone, otp } })
}

async function stored ({ app }: Service, phone: string) {
  return stateOf(await app.collections.otps.findOne({ _id: phone }))
}

async function sentThisHour ({ app, clock }: Service): Promise<number> {
  const counter = await app.collections.otps.findOne({ _id: 'service' })
  return counter && 'hours' in counter ? counter.hours[Math.floor(clock.now.getTime() / 3_600_000)]?.sent ?? 0 : 0
}

function answer ({ status, body }: Reply): [number, unknown] {
  return [status, body]
}

async function countsAsSent (
  t: Test,
  service: Service,
  gateway: Awaited<ReturnType<typeof startGateway>>,
  behaviour: Behaviour
): Promise<void> {
  const phone = freshPhone()
  const before = gateway.requests.length
  gateway.behave(behaviour)
  for (let attempt = 1; attempt <= 2; attempt++) {
    t.same(answer(await requestOtp(service, phone)), [200, { message: 'OTP sent' }])
  }
  t.equal(gateway.requests.length - before, 1, 'the gap holds')
  t.equal((await stored(service, phone))?.sms.length, 1)
  t.match(events(service, 'otp.sent').at(-1), { reason: 'unconfirmed' })
  const code = codeIn(gateway.requests.at(-1)!)
  t.match((await verify(service, phone, code)).body, { success: true }, 'the code that may have arrived is good')
  for (let text = 2; text <= 5; text++) {
    t.equal((await requestOtp(service, phone)).status, 200)
    await verify(service, phone, codeIn(gateway.requests.at(-1)!))
  }
  t.equal((await requestOtp(service, phone)).status, 429, 'and the budget is used up')
  t.equal(gateway.requests.length - before, 5)
  gateway.behave()
  noLeak(t, service, phone, gateway.requests.slice(before).map(codeIn))
}

async function leavesNoTrace (
  t: Test,
  service: Service,
  gateway: Awaited<ReturnType<typeof startGateway>>,
  behaviour: Behaviour,
  requests: number
): Promise<void> {
  const phone = freshPhone()
  const [before, failures] = [gateway.requests.length, events(service, 'otp.failed').length]
  gateway.behave(behaviour)
  for (let attempt = 1; attempt <= 2; attempt++) failed(t, await requestOtp(service, phone))
  t.equal(gateway.requests.length - before, 2 * requests, 'no gap after a failed first text')
  t.match(await stored(service, phone), { challenge: null, sms: [] })

  gateway.behave()
  t.equal((await requestOtp(service, phone)).status, 200)
  const code = codeIn(gateway.requests.at(-1)!)
  const live = await stored(service, phone)
  service.clock.advance(15)
  gateway.behave(behaviour)
  for (let attempt = 1; attempt <= 2; attempt++) failed(t, await requestOtp(service, phone))
  const after = await stored(service, phone)
  t.same([after?.challenge, after?.sms], [live?.challenge, live?.sms])
  gateway.behave()
  t.match((await verify(service, phone, code)).body, { success: true })
  noLeak(t, service, phone, gateway.requests.slice(before).map(codeIn))
  t.equal(events(service, 'otp.failed').length - failures, 4)
}

function taken (response: Parameters<Behaviour>[0]): void {
  response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify({ sid: 'SM2' }))
}

function gatewayError (status: number): Behaviour {
  return response => { response.writeHead(status, { 'content-type': 'text/html' }).end('<h1>Bad gateway</h1>') }
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

function failed (t: Test, { status, body, headers }: Reply): void {
  t.same([status, body.error], [500, 'Failed to send OTP'])
  t.equal(
    body.details,
    `The request could not be completed. Quote request id ${headers.get('x-request-id')} when you ask about it.`
  )
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any
function events ({ logs }: Service, name: string): Array<Record<string, any>> {
  return logs.map(line => JSON.parse(line)).filter(({ event }) => event === name)
}

function noLeak (t: Test, { logs }: Service, phone: string, codes: string[]): void {
  const all = logs.join('')
  t.ok(codes.length > 0)
  t.notOk(all.includes(phone.slice(3)), 'no whole number in the logs')
  t.same(codes.filter(code => new RegExp(`(?<![0-9a-z])${code}(?![0-9a-z])`, 'i').test(all)), [], 'no code in the logs')
}
