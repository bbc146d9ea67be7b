import http from 'node:http'
import { ObjectId } from 'mongodb'
import t from 'tap'
import { claimsOf, createCaller, createUser, freshName, makeAdmin } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { otpStateOf, requestCode } from '../helpers/codes.js'
import { insertItems } from '../helpers/items.js'
import { startService } from '../helpers/service.js'
import { gif } from '../helpers/small-pictures.js'
import { scale } from '../helpers/test-length.js'
import { halfAnUpload } from '../helpers/upload-requests.js'

t.setTimeout(1_200_000)
const service = await startService(t)
const { call, clock, app: { collections: { users, library } } } = service

t.test('GET /users/me/export gives everything about the caller, as a file', async t => {
  const meera = await createUser(service, await service.signIn())
  const { body: item } = await ok(service.upload(meera.token, gif, { fields: { user_id: 'meera', title: 'Fox' } }))
  await ok(service.upload((await createUser(service)).token, gif))
  const upload = await halfAnUpload(service, meera.token)
  await requestCode(service, meera.phone)
  const { status, body, headers, text } = await call('GET', '/users/me/export', {
    token: meera.token,
    headers: { 'user-agent': 'tester' }
  })
  await ok(upload.finish())
  t.equal(status, 200)
  t.equal(headers.get('content-type'), 'application/json; charset=utf-8')
  t.equal(
    headers.get('content-disposition'),
    `attachment; filename="hookaba-${clock.now.toISOString().slice(0, 10)}.json"`
  )
  t.equal(headers.get('cache-control'), 'no-store')
  t.strictSame(
    Object.keys(body),
    ['exported_at', 'user', 'former_numbers', 'merged_users', 'sessions', 'login', 'uploads', 'items', 'blocks', 'reports', 'audit']
  )
  t.equal(body.exported_at, clock.now.toISOString())
  t.strictSame(body.user, {
    _id: meera.id,
    username: meera.username,
    number: meera.phone,
    created_on: clock.now.toISOString(),
    admin: false
  })
  t.match(body.sessions, [{ id: claimsOf(meera.token).sid, current: true, user_agent: 'node' }])
  t.match(body.login, {
    texts: [clock.now.toISOString(), clock.now.toISOString()],
    failures: [],
    failures_in_row: 0,
    locked_until: null,
    code: { tries: 0, used_at: null }
  })
  t.strictSame(body.items, [Object.fromEntries(Object.entries(item).filter(([name]) => name !== 'message'))])
  t.match(body.uploads, [{ started_at: clock.now.toISOString() }])
  const events = body.audit.map(({ event }: { event: string }) => event)
  for (const event of ['otp.requested', 'otp.sent', 'session.opened', 'user.created', 'user.exported']) {
    t.ok(events.includes(event), event)
  }
  const otp = await otpStateOf(service, meera.phone)
  for (const secret of [
    service.lastCode(meera.phone),
    otp!.challenge!.nonce.toString('base64'),
    otp!.challenge!.nonce.toString('hex'),
    meera.token.split('.')[2]!,
    'nonce',
    'subject'
  ]) {
    t.notOk(text.includes(`"${secret}"`))
  }
})

t.test('An export tells nothing that a former holder of the number did', async t => {
  const [former, meera] = [await service.signIn(), await createUser(service)]
  await ok(call('POST', '/auth/verify-otp', { json: { phone: former.phone, otp: '123456' } }))
  clock.advance(20 * 24 * 3600)
  const at = clock.now.toISOString()
  const next = await service.tokenFor(meera.phone)
  await ok(call('POST', '/users/me/number', { token: next, json: { number: former.phone } }))
  const json = { number: former.phone, otp: service.lastCode(former.phone) }
  t.match(await call('POST', '/users/me/number/verify', { token: next, json }), { status: 200, body: { success: true } })
  const { body: { audit } } = await ok(call('GET', '/users/me/export', { token: next }))
  t.ok(audit.some(({ event }: { event: string }) => event === 'number.changed'))
  t.ok(audit.some((row: { at: string }) => row.at < at), 'but what the caller did at another number')
  t.same(audit.filter((row: { at: string, event: string }) => row.at < at && row.event.startsWith('otp.')), [])
})

t.test('An export tells what others did to the caller, but not who they are or where', async t => {
  const [chief, meera] = [await createUser(service), await createUser(service)]
  await makeAdmin(service, chief.phone)
  for (const json of [{ blocked: true }, { blocked: false, admin: true }]) {
    await ok(call('PATCH', `/users/${meera.id}`, { token: chief.token, json }))
  }
  const token = await service.tokenFor(meera.phone)
  const { body: { audit } } = await ok(call('GET', '/users/me/export', { token }))
  const done = audit.filter(({ event, details }: { event: string, details: { reason?: string } }) =>
    event === 'user.rights_changed' || details.reason === 'blocked')
  t.equal(done.length, 3)
  for (const row of done) t.notHas(row, { network: String, request_id: String, details: { by: String } })
  t.notOk(JSON.stringify(audit).includes(chief.phone.slice(-4)))
})

t.test('An export has the users of the replaced system that the account took in', async t => {
  const meera = await createUser(service)
  const merged = {
    id: new ObjectId(),
    username: freshName(),
    number: meera.phone.slice(3),
    created_on: new Date('2023-03-02T08:00:00.000Z')
  }
  await users.updateOne({ _id: new ObjectId(meera.id) }, { $set: { merged: [merged] } })
  const { id, created_on: createdOn, ...shown } = merged
  t.strictSame((await ok(call('GET', '/users/me/export', { token: meera.token }))).body.merged_users, [
    { _id: id.toHexString(), ...shown, created_on: createdOn.toISOString() }
  ])
  t.equal((await call('DELETE', '/users/me', { token: meera.token })).status, 204)
  t.equal((await users.findOne({ _id: new ObjectId(meera.id) }))!.merged, undefined, 'nothing of them stays')
})

t.test('The export of an account without a name has what there is', async t => {
  const { token, phone } = await createCaller(service)
  const { status, body } = await call('GET', '/users/me/export', { token })
  t.match(
    [status, body.user, body.login, body.items, body.sessions.length],
    [200, { username: '', number: phone }, undefined, [], 1]
  )
})

t.test('An export of very many items is whole, newest first, and comes in pieces', async t => {
  const meera = await createUser(service)
  const count = scale({ short: 500, long: 2000, real: 120 })
  await insertItems(service, count, i => ({
    owner: new ObjectId(meera.id),
    created_at: new Date(clock.now.getTime() - i)
  }))
  const { body, headers } = await ok(call('GET', '/users/me/export', { token: meera.token }))
  t.equal(headers.get('content-length'), null)
  t.equal(body.items.length, count)
  t.match([body.items[0].url, body.items.at(-1).url], [/\/library\/0\//, new RegExp(`/library/${count - 1}/`)])
  t.equal((await call('DELETE', '/users/me', { token: meera.token })).status, 204)
  t.equal(await library.countDocuments({ owner: new ObjectId(meera.id) }), 0)
  await library.deleteMany({ key: { $regex: '^library/[0-9]+/' } })
})

t.test('A client that hangs up halfway through its export does no harm', async t => {
  const meera = await createUser(service)
  await insertItems(service, scale({ short: 1000, long: 3000 }), () => ({
    owner: new ObjectId(meera.id),
    user_id: 'meera'.repeat(50),
    created_at: clock.now
  }))
  await new Promise<void>(resolve => {
    http.get(
      `${service.url}/users/me/export`,
      { headers: { authorization: `Bearer ${meera.token}` }, agent: false },
      response => response.once('data', () => response.destroy()).once('close', resolve)
    ).on('error', () => {})
  })
  t.equal((await call('GET', '/users/me', { token: meera.token })).status, 200)
  await library.deleteMany({ key: { $regex: '^library/[0-9]+/' } })
})
