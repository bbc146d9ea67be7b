import t from 'tap'
import { freshAddress, freshPhone } from '../helpers/accounts.js'
import { failureOf, ok } from '../helpers/answers.js'
import { startServices, withUriOption } from '../helpers/backends.js'
import { wrongCode } from '../helpers/codes.js'
import { failCommands } from '../helpers/fail-commands.js'
import { leaksIn, loggedEvents } from '../helpers/logs.js'
import { startService } from '../helpers/service.js'
import { codeIn } from '../helpers/sms-gateway.js'

const REQUEST = '/auth/request-otp'
const VERIFY = '/auth/verify-otp'

t.test('Logs of the login', async t => {
  const services = await startServices(t)
  const appName = `auth-${Math.random().toString(36).slice(2)}`
  const service = await startService(t, {
    services,
    env: { TRUST_PROXY: 'loopback', MONGO_URI: withUriOption(services.mongoUri, 'appName', appName) }
  })
  const { call } = service

  t.test('Every event of a login is logged with a masked number, and never a code, a number or a token', async t => {
    const phone = freshPhone()
    const codes: string[] = []
    const tokens: string[] = []
    const request = () => call('POST', REQUEST, { json: { phone }, headers: { 'x-forwarded-for': freshAddress() } })
    const guess = async (otp: string, expected = 200) => {
      codes.push(otp)
      const { status, body } = await call('POST', VERIFY, { json: { phone, otp } })
      t.equal(status, expected)
      if (body.access_token) tokens.push(body.access_token)
    }
    await ok(request())
    await ok(request())
    await guess(wrongCode(service, phone))
    await guess(service.lastCode(phone))
    for (let sent = 2; sent <= 4; sent++) {
      await ok(request())
      for (let tries = 1; tries <= 5; tries++) await guess(wrongCode(service, phone), sent < 4 ? 200 : 429)
    }
    service.clock.advance(900)
    for (let sent = 1; sent <= 5; sent++) {
      await ok(request())
      await guess(service.lastCode(phone))
    }
    t.equal((await request()).status, 429)

    for (const event of [
      'otp.requested', 'otp.sent', 'otp.already_sent', 'otp.rejected', 'otp.verified', 'otp.locked', 'otp.limited'
    ]) {
      const lines = loggedEvents(service, event)
      t.ok(lines.length > 0, event)
      t.ok(
        lines.every(({ phone: masked, reqId }) =>
          masked === `+********${phone.slice(-4)}` && typeof reqId === 'string'),
      `${event} names the phone, masked, and the request`
      )
    }
    t.ok(tokens.length >= 2)
    t.same(leaksIn(service, {
      phone,
      codes: [...codes, ...service.sms.map(codeIn)].filter(code => /^\d{6}$/.test(code)),
      others: tokens
    }), [])
  })

  t.test('A failing database is a 500, logged once with its request, and gives nothing away', async t => {
    const phone = freshPhone()
    await ok(service.call('POST', REQUEST, { json: { phone } }))
    const otp = service.lastCode(phone)
    const heal = await failCommands(services.mongoUri, {
      commands: ['find', 'update', 'insert'],
      appName,
      errorCode: 8000
    })
    t.teardown(heal)
    const asked = await service.call('POST', REQUEST, { json: { phone } })
    t.equal(failureOf(asked), 'Failed to send OTP')
    const tried = await service.call('POST', VERIFY, { json: { phone, otp } })
    t.same([tried.status, tried.body.error], [500, 'Internal server error'])
    t.match(tried.body.details, tried.headers.get('x-request-id'))
    for (const { text, headers } of [asked, tried]) {
      t.notMatch(text, /mongo|failpoint|127\.0\.0\.1| at /i)
      t.equal(
        service.logs.filter(line =>
          JSON.parse(line).level >= 50 && line.includes(headers.get('x-request-id')!)).length,
        1
      )
    }
    await heal()
    t.same(leaksIn(service, { phone, codes: [otp] }), [])
    t.match(
      await service.call('POST', VERIFY, { json: { phone, otp } }),
      { status: 200, body: { success: true } },
      'all is well again'
    )
  })
})
