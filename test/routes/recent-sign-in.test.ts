import t from 'tap'
import { auditEvents, createUser, freshName, freshPhone } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { otpStateOf, requestCode, wrongCode } from '../helpers/codes.js'
import { LEGACY_SECRET, legacyToken } from '../helpers/jws.js'
import { type Reply, type Service, startService } from '../helpers/service.js'

const SIGN_IN_AGAIN = { status: 403, body: { error: 'Please sign in again to do this' } }
const TEN_MINUTES = 600
const TEST_NUMBER = '+919999900000'

t.setTimeout(1_200_000)
const services = await startServices(t)
const service = await startService(t, {
  services,
  env: {
    JWT_LEGACY_SECRET: LEGACY_SECRET,
    SMS_BRAND: 'x'.repeat(40),
    OTP_TEST_NUMBERS: `${TEST_NUMBER}:123456`
  }
})

t.test('A sign-in more than ten minutes old neither changes the number nor deletes the account', async t => {
  const meera = await createUser(service)
  const to = freshPhone()
  service.clock.advance(TEN_MINUTES - 60)
  t.match(await ask(service, meera.token, to), { status: 200 })
  const otp = service.lastCode(to)
  service.clock.advance(61)
  for (const answer of [
    await ask(service, meera.token, freshPhone()),
    await verify(service, meera.token, to, otp),
    await remove(service, meera.token)
  ]) {
    t.match(answer, SIGN_IN_AGAIN)
  }
  t.match(
    await service.call('GET', '/users/me', { token: meera.token }),
    { status: 200, body: { number: meera.phone } },
    'all else works'
  )
  t.equal(
    (await service.call('PATCH', '/users/me', { token: meera.token, json: { username: freshName() } })).status,
    200
  )
  t.match(await ask(service, 'none', to), { status: 401 }, 'without a token it is 401')

  const again = await service.signIn(meera.phone)
  t.match(await verify(service, again.token, to, otp), { status: 200, body: { number: to } })
  t.match(await remove(service, meera.token), SIGN_IN_AGAIN, 'another device of the same person is as old as before')
  t.equal((await remove(service, again.token)).status, 204)
})

t.test('A sign-in of exactly ten minutes ago still does', async t => {
  const meera = await createUser(service)
  service.clock.advance(TEN_MINUTES)
  t.equal((await remove(service, meera.token)).status, 204)
})

t.test('A refresh does not renew the sign-in', async t => {
  const phone = freshPhone()
  await requestCode(service, phone)
  const { body } = await ok(service.call('POST', '/auth/verify-otp', {
    json: { phone, otp: service.lastCode(phone), refresh: true }
  }))
  await createUser(service, { phone, token: body.access_token })
  service.clock.advance(TEN_MINUTES + 1)
  const json = { refresh_token: body.refresh_token }
  const { body: { access_token: token } } = await ok(service.call('POST', '/auth/refresh', { json }))
  for (const answer of [
    await ask(service, token, freshPhone()),
    await verify(service, token, freshPhone(), '123456'),
    await remove(service, token)
  ]) {
    t.match(answer, SIGN_IN_AGAIN)
  }
})

t.test('A token of the replaced system is never a recent sign-in', async t => {
  const phone = freshPhone()
  const iat = Math.floor(service.clock.now.getTime() / 1000)
  const token = legacyToken(phone, { iat })
  await createUser(service, { phone, token })
  for (const answer of [
    await ask(service, token, freshPhone()),
    await verify(service, token, freshPhone(), '123456'),
    await remove(service, token)
  ]) {
    t.match(answer, SIGN_IN_AGAIN)
  }
})

t.test('A changed number: one SMS tells the old number, without a digit', async t => {
  const meera = await createUser(service)
  const to = freshPhone()
  const before = service.sms.length
  await ok(ask(service, meera.token, to))
  const otp = service.lastCode(to)
  t.match(await verify(service, meera.token, to, wrongCode(service, to)), { status: 200, body: { success: false } })
  t.same(service.sms.slice(before).filter(({ to }) => to === meera.phone), [], 'a wrong code sends no SMS')
  const answers = await Promise.all([verify(service, meera.token, to, otp), verify(service, meera.token, to, otp)])
  t.equal(answers.filter(({ body }) => body.number === to).length, 1)
  const told = service.sms.slice(before).filter(({ to }) => to === meera.phone)
  t.equal(told.length, 1)
  t.match(told[0]!.body, /another phone number/)
  t.notMatch(told[0]!.body, /\p{Nd}/u)
  t.ok(Buffer.byteLength(told[0]!.body) <= 140)
  t.ok((await auditEvents(service, meera.phone)).includes('number_notice.sent'))
})

t.test('The owner is told although the budget of the old number and of the address is used up', async t => {
  const service = await startService(t, { services, env: { LIMIT_SMS_PER_ADDRESS: '4' } })
  const meera = await createUser(service)
  for (const gap of [0, 15, 30]) {
    service.clock.advance(gap)
    await requestCode(service, meera.phone)
  }
  const to = freshPhone()
  t.equal((await ask(service, meera.token, to)).status, 200)
  const used = await otpStateOf(service, meera.phone)
  t.match(await verify(service, meera.token, to, service.lastCode(to)), { status: 200, body: { number: /^\+/ } })
  t.match(service.sms.at(-1), { to: meera.phone, body: /another phone number/ })
  t.same(await otpStateOf(service, meera.phone), used, 'and that budget is as it was')
})

t.test('The SMS to the old number and the caps of the service', async t => {
  const gateway = { fails: false, sms: [] as Array<{ to: string, body: string }> }
  const service = await startService(t, {
    services: await startServices(t),
    env: { SMS_HOURLY_CAP: '3' },
    sendSms: async message => {
      gateway.sms.push(message)
      if (gateway.fails && !/\d{6}/.test(message.body)) throw new Error('the gateway is gone')
    }
  })
  const change = async ({ token }: { token: string }) => {
    const to = freshPhone()
    await ok(ask(service, token, to))
    const otp = /\d{6}/.exec(gateway.sms.findLast(message => message.to === to)!.body)![0]
    t.match(await verify(service, token, to, otp), { status: 200, body: { number: to } })
  }

  t.test('The SMS to the old number counts in the caps of the service and is not sent beyond them', async t => {
    const [meera, asha] = [await createUser(service), await createUser(service)]
    await change(meera)
    t.equal(gateway.sms.length, 2, 'two of three: a code, a notice')
    await change(asha)
    t.equal(gateway.sms.length, 3, 'the last one is the code')
    t.notOk(gateway.sms.some(({ to }) => to === asha.phone))
    t.ok(service.logs.some(line => line.includes('number_notice.failed')))
  })

  t.test('A provider that fails to tell the old number changes nothing', async t => {
    service.clock.advance(3600)
    Object.assign(gateway, { fails: true, sms: [] })
    for (const user of [await createUser(service), await createUser(service)]) {
      await change(user)
      t.equal(gateway.sms.at(-1)?.to, user.phone)
    }
    t.equal(gateway.sms.length, 4, 'an SMS that was not sent is taken out of the cap again')
  })
})

t.test('A test number gets no such SMS', async t => {
  const sent = service.sms.length
  const { token } = await createUser(service, { phone: TEST_NUMBER })
  t.equal((await ask(service, token, freshPhone())).status, 400)
  t.same(service.sms.slice(sent), [])
})

function ask (service: Service, token: string, number: string): Promise<Reply> {
  return service.call('POST', '/users/me/number', { token, json: { number } })
}

function verify (service: Service, token: string, number: string, otp: string): Promise<Reply> {
  return service.call('POST', '/users/me/number/verify', { token, json: { number, otp } })
}

function remove (service: Service, token: string): Promise<Reply> {
  return service.call('DELETE', '/users/me', { token })
}
