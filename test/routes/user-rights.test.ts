import { ObjectId } from 'mongodb'
import t from 'tap'
import {
  accountOf, auditOf, createUser, findAccount, freshName, freshPhone, insertAccount, setBlocked
} from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { requestCode } from '../helpers/codes.js'
import { startService } from '../helpers/service.js'
import { gif } from '../helpers/small-pictures.js'

const ADMINS_ONLY = { status: 403, body: { error: 'Only an admin may do that' } }
const USER_NOT_FOUND = { status: 404, body: { error: 'User not found' } }
const INVALID_TOKEN = { status: 401, body: { error: 'Invalid access token' } }
const INVALID_ID = { status: 400, body: { error: 'Invalid user id' } }
const UNKNOWN_ID = '665f1c2ab7e4d90012ab34cd'
const TEST_NUMBER = '+919999900000'

const chief = freshPhone()
const services = await startServices(t)
const env = { ADMIN_NUMBERS: chief.slice(3), OTP_TEST_NUMBERS: `${TEST_NUMBER}:123456` }
const service = await startService(t, { services, env })
/** Another process on the same database. */
const other = await startService(t, { services, now: () => service.clock.now })
const { app, call, clock } = service
const { users } = app.collections

const admin = await createUser(service, { username: 'zz chief', phone: chief })
const chiefId = admin.id

t.test('PATCH /users/{id}', async t => {
  const change = (id: string, json: unknown, token = admin.token) => call('PATCH', `/users/${id}`, { token, json })

  t.test('PATCH /users/{id} makes an admin, and takes it back, at once here', async t => {
    const meera = await createUser(service)
    const { status, body, headers } = await change(meera.id, { admin: true })
    t.strictSame(
      [status, body],
      [
        200,
        {
          _id: meera.id,
          username: meera.username,
          number: meera.phone,
          created_on: clock.now.toISOString(),
          admin: true,
          blocked: false
        }
      ]
    )
    t.equal(headers.get('cache-control'), 'no-store')
    t.equal((await call('GET', '/users', { token: meera.token })).status, 200)
    t.equal((await other.call('GET', '/users', { token: meera.token })).status, 200)
    t.equal((await change(meera.id, { admin: false })).status, 200)
    t.match(await call('GET', '/users', { token: meera.token }), ADMINS_ONLY)
    clock.advance(10)
    t.match(await other.call('GET', '/users', { token: meera.token }), ADMINS_ONLY, 'within ten seconds everywhere')
    const events = (await auditOf(app, meera.phone)).filter(({ event }) => event === 'user.rights_changed').map(
      ({ details }) => details
    )
    t.same(
      events.sort((a, b) => Number(a.admin) - Number(b.admin)),
      [false, true].map(admin => ({ by: chiefId, admin }))
    )
  })

  t.test('A blocked user is out: here at once, everywhere within ten seconds, and does not come in again', async t => {
    const meera = await createUser(service)
    const second = await service.tokenFor(meera.phone)
    await requestCode(service, meera.phone)
    for (const token of [meera.token, second]) t.equal((await other.call('GET', '/users/me', { token })).status, 200)
    t.match(await change(meera.id, { blocked: true }), { status: 200, body: { blocked: true } })
    for (const token of [meera.token, second]) t.match(await call('GET', '/users/me', { token }), INVALID_TOKEN)
    t.match(await other.upload(second, gif), INVALID_TOKEN, 'nothing of theirs becomes an item')
    clock.advance(10)
    for (const token of [meera.token, second]) t.match(await other.call('GET', '/users/me', { token }), INVALID_TOKEN)

    t.match(
      await call('POST', '/auth/verify-otp', { json: { phone: meera.phone, otp: service.lastCode(meera.phone) } }),
      { status: 200, body: { success: false, message: 'Invalid OTP' } },
      'a code that was out'
    )
    clock.advance(301)
    const sms = service.sms.length
    t.match(await call('POST', '/auth/request-otp', { json: { phone: meera.phone } }), {
      status: 200,
      body: { message: 'OTP sent' }
    })
    t.equal(service.sms.length, sms)

    t.match(await change(meera.id, { blocked: false }), { status: 200, body: { blocked: false } })
    clock.advance(301)
    const again = await service.signIn(meera.phone)
    t.match(await call('GET', '/users/me', { token: again.token }), { status: 200, body: { _id: meera.id } })
    t.match(await call('GET', '/users/me', { token: second }), INVALID_TOKEN)
  })

  t.test('A blocked user cannot delete the account, even at a process that still knows the session', async t => {
    const meera = await createUser(service)
    t.equal((await other.call('GET', '/users/me', { token: meera.token })).status, 200)
    await setBlocked(service, meera.phone, true)
    t.match(await other.call('DELETE', '/users/me', { token: meera.token }), INVALID_TOKEN)
    t.match(await findAccount(service, meera), { blocked: true })
  })

  t.test('A blocked admin has no admin rights', async t => {
    const meera = await createUser(service)
    await ok(change(meera.id, { admin: true }))
    t.equal((await other.call('GET', '/users', { token: meera.token })).status, 200)
    t.match(await change(meera.id, { blocked: true }), { status: 200, body: { admin: true, blocked: true } })
    t.match(await call('GET', '/users', { token: meera.token }), INVALID_TOKEN)
    t.match(
      await other.call('PATCH', `/users/${meera.id}`, { token: meera.token, json: { blocked: false } }),
      INVALID_TOKEN,
      'a request that changes something is refused at once everywhere'
    )
    clock.advance(10)
    t.match(await other.call('GET', '/users', { token: meera.token }), INVALID_TOKEN)
  })

  t.test('PATCH /users/{id} works for an account without a name, which is in no list', async t => {
    const { phone, token } = await service.signIn()
    const id = (await accountOf(app, phone)).toHexString()
    t.match(await change(id, { blocked: true }), {
      status: 200,
      body: { _id: id, username: '', number: phone, admin: false, blocked: true }
    })
    t.match(await call('GET', '/auth/sessions', { token }), INVALID_TOKEN)
    t.same((await ok(call('GET', `/users?number=${encodeURIComponent(phone)}`, { token: admin.token }))).body.users, [])
    t.match(await call('GET', `/users/${id}`, { token: admin.token }), USER_NOT_FOUND)
    clock.advance(301)
    const sms = service.sms.length
    await ok(call('POST', '/auth/request-otp', { json: { phone } }))
    t.equal(service.sms.length, sms)
    t.match(await change(id, { blocked: false, admin: true }), { status: 200, body: { admin: true, blocked: false } })
  })

  t.test('PATCH /users/{id} answers 404 for an account that is being deleted', async t => {
    const meera = await createUser(service)
    await ok(call('DELETE', '/users/me', { token: meera.token }))
    t.match(await change(meera.id, { blocked: true }), USER_NOT_FOUND)
    t.match(await change(meera.id, {}), USER_NOT_FOUND)
  })

  t.test('PATCH /users/{id} without a body, or without a member, changes nothing', async t => {
    const meera = await createUser(service)
    const before = await findAccount(service, meera)
    t.match(await call('PATCH', `/users/${meera.id}`, { token: admin.token }), {
      status: 200,
      body: { admin: false, blocked: false }
    })
    t.match(await change(meera.id, {}), { status: 200 })
    t.same(await findAccount(service, meera), before)
  })

  t.test('PATCH /users/{id} changes nothing but admin and blocked', async t => {
    const meera = await createUser(service)
    const before = await findAccount(service, meera)
    t.equal(
      (await change(meera.id, {
        _id: UNKNOWN_ID,
        username: 'x',
        username_key: 'x',
        number: freshPhone(),
        created_on: 0,
        sessions: [],
        deleting: 0,
        former_numbers: [],
        old_number: 'x',
        $set: { admin: true },
        prototype: { admin: true }
      })).status,
      200
    )
    for (const body of ['{"__proto__":{"admin":true}}', '{"constructor":{"prototype":{"blocked":true}}}']) {
      t.match(
        await call('PATCH', `/users/${meera.id}`, {
          token: admin.token,
          body,
          headers: { 'content-type': 'application/json' }
        }),
        { status: 200, body: { admin: false, blocked: false } }
      )
    }
    t.same(await findAccount(service, meera), before)
  })

  t.test('PATCH /users/{id} answers 400 for members that are no JSON booleans', async t => {
    const meera = await createUser(service)
    for (const name of ['admin', 'blocked']) {
      for (const value of [null, 'true', 'false', '', 0, 1, [], [true], {}, { $ne: null }, { $gt: '' }]) {
        t.match(
          await change(meera.id, { [name]: value }),
          { status: 400, body: { errors: { [name]: ['Not a valid boolean.'] } } },
          `${name}: ${JSON.stringify(value)}`
        )
      }
    }
    for (const body of ['[]', '"x"', 'null', '{']) {
      t.match(
        await call('PATCH', `/users/${meera.id}`, {
          token: admin.token,
          body,
          headers: { 'content-type': 'application/json' }
        }),
        { status: 400, body: { errors: { _schema: ['Invalid input.'] } } }
      )
    }
    t.match(await findAccount(service, meera), { admin: false })
  })

  t.test('PATCH /users/{id} answers 400 for an invalid id and 404 for an unknown one', async t => {
    for (const id of [
      'x',
      '123456789012',
      UNKNOWN_ID.slice(1),
      `${UNKNOWN_ID}0`,
      UNKNOWN_ID.toUpperCase(),
      encodeURIComponent('[object Object]'),
      '%00',
      `${UNKNOWN_ID}%00`,
      encodeURIComponent('{"$ne":null}')
    ]) {
      t.match(await change(id, { blocked: true }), INVALID_ID, id)
    }
    t.match(await change(UNKNOWN_ID, { blocked: true }), USER_NOT_FOUND)
    t.match(await change(UNKNOWN_ID, {}), USER_NOT_FOUND)
  })

  t.test('A user with a test number never becomes an admin', async t => {
    const { id } = await createUser(service, { phone: TEST_NUMBER })
    t.match(await change(id, { admin: true, blocked: true }), {
      status: 400,
      body: { errors: { admin: ['Not a valid value.'] } }
    })
    t.match(await findAccount(service, { phone: TEST_NUMBER }), { admin: false })
    t.equal((await change(id, { admin: false })).status, 200)
  })

  t.test('A row without a number can be blocked, too', async t => {
    const _id = new ObjectId()
    await insertAccount(service, { _id, username: freshName(), old_number: '98765' })
    t.match(await change(_id.toHexString(), { blocked: true }), {
      status: 200,
      body: { number: '98765', blocked: true }
    })
  })

  t.test('PATCH /users/{id} is for admins alone: no other caller learns which users exist', async t => {
    const [meera, asha] = [await createUser(service), await createUser(service)]
    for (const [id, body] of [
      [asha.id, { blocked: true }],
      [meera.id, { admin: true }],
      [UNKNOWN_ID, {}],
      ['x', { admin: 1 }]
    ] as const) {
      t.match(await change(id, body, meera.token), ADMINS_ONLY)
    }
    t.match(await call('PATCH', `/users/${asha.id}`, { json: {} }), { status: 401 })
    t.match(
      await users
        .find({ number: { $in: [meera.phone, asha.phone] }, $or: [{ admin: true }, { blocked: true }] })
        .toArray(),
      []
    )
  })
})
