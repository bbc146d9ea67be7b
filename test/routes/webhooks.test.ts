import { createHmac } from 'node:crypto'
import t from 'tap'
import { freshPhone } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { askForCode, otpStateOf } from '../helpers/codes.js'
import { loggedEvents } from '../helpers/logs.js'
import { type Reply, type Service, startService } from '../helpers/service.js'
import { codeIn, startGateway } from '../helpers/sms-gateway.js'

const STATUS = '/webhooks/twilio/status'
const PUBLIC_URL = 'https://api.example.com/v1'

const services = await startServices(t)
const gateway = await startGateway(t)
const env = {
  SMS_PROVIDER: 'twilio',
  TWILIO_ACCOUNT_SID: 'AC00000000000000000000000000000001',
  TWILIO_AUTH_TOKEN: 'twilio-auth-token',
  TWILIO_PHONE_NUMBER: '+15005550006',
  TWILIO_API_URL: gateway.url,
  FRAUD_MIN_SMS: '0',
  TRUST_PROXY: 'loopback'
}
const settings = { services, sendSms: undefined, smsTimeoutMs: 60_000 }

t.test(`POST ${STATUS}`, async t => {
  const service = await startService(t, { ...settings, env: { ...env, PUBLIC_URL: `${PUBLIC_URL}/` } })
  const reference = () => String(service.clock.now.getTime())
  /** The number of SMS that one request sends. */
  const sends = async (phone: string) => {
    const before = gateway.requests.length
    await ok(askForCode(service, phone))
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

t.test('Twilio sends by WhatsApp where that is the channel, and reports nothing without PUBLIC_URL', async t => {
  const service = await startService(t, { ...settings, env: { ...env, TWILIO_CHANNEL: 'whatsapp' } })
  const phone = freshPhone()
  t.equal((await askForCode(service, phone)).status, 200)
  const form = Object.fromEntries(new URLSearchParams(gateway.requests.at(-1)?.body))
  t.match(form, { To: `whatsapp:${phone}`, From: 'whatsapp:+15005550006' })
  t.notOk('StatusCallback' in form)
  const { status, body } = await report(service, { MessageStatus: 'undelivered', To: `whatsapp:${phone}` })
  t.same([status, body], [403, { error: 'Signature does not match' }])
})

/** Twilio's manual, "Security": the URL and the sorted form, without separators. */
function signature (url: string, form: Record<string, string>, token = env.TWILIO_AUTH_TOKEN): string {
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
