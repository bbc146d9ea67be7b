import { createHmac } from 'node:crypto'
import http from 'node:http'
import { ObjectId } from 'mongodb'
import t from 'tap'
import { stateOf } from '../../services/login/otp-store.js'
import { field, file, form } from '../helpers/multipart.js'
import { gif } from '../helpers/small-pictures.js'
import { accountOf, auditOf, claimsOf, freshPhone, insertRows, userRow, requestContextOf } from '../helpers/accounts.js'
import { eventually } from '../helpers/wait.js'
import { startService, type Reply, type Service } from '../helpers/service.js'
import { startServices } from '../helpers/backends.js'
import { json, open } from '../helpers/upload-requests.js'

const USER_NOT_FOUND = { status: 404, body: { error: 'User not found' } }
const INVALID_TOKEN = { status: 401, body: { error: 'Invalid access token' } }
const INVALID_OTP = { status: 200, body: { success: false, message: 'Invalid OTP' } }
const NUMBER_TAKEN = { status: 409, body: { error: 'Phone number already in use' } }
const LEGACY_SECRET = 'the secret of the replaced system'
const TEST_NUMBER = '+919999900000'
const ROUNDS = process.env.TEST_REAL ? 5 : 20

t.setTimeout(1_200_000)
const services = await startServices(t)
const env = { OTP_TEST_NUMBERS: `${TEST_NUMBER}:123456` }
const service = await startService(t, { services, env })
/** Another process on the same database. */
const other = await startService(t, { services, env, now: () => service.clock.now })
const { app, call, clock } = service
const { users, library, uploads } = app.collections
let names = 0

t.test('PATCH /users/me', async t => {
  t.test('changes the username, and frees the old one', async t => {
    const meera = await person()
    const name = freshName()
    const { status, body, headers } = await rename(meera, ` ${name.toUpperCase()} `)
    t.strictSame(
      [status, body],
      [
        200,
        { _id: meera.id, username: name.toUpperCase(), number: meera.phone, created_on: meera.createdOn, admin: false }
      ]
    )
    t.equal(headers.get('cache-control'), 'no-store')
    t.match(await users.findOne({ number: meera.phone }), { username: name.toUpperCase(), username_key: name })
    const asha = await person()
    t.match(await rename(asha, name), { status: 409, body: { error: 'Username already in use' } })
    t.match(await rename(asha, meera.username), { status: 200, body: { username: meera.username } })
    t.match(await rename(meera, name), { status: 200, body: { username: name } }, 'one\'s own name in another form')
    t.match((await rename(meera, name)).status, 200, 'again')
    t.ok((await recorded(meera.phone)).includes('user.renamed'))
  })

  t.test('an empty change changes nothing, with or without a body', async t => {
    const meera = await person()
    const before = await users.findOne({ number: meera.phone })
    for (const options of [{}, { json: {} }, { headers: { 'content-type': 'application/json' } }]) {
      t.match(await call('PATCH', '/users/me', { token: meera.token, ...options }), {
        status: 200,
        body: { username: meera.username }
      })
    }
    t.same(await users.findOne({ number: meera.phone }), before)
  })

  t.test('no other member changes anything', async t => {
    const meera = await person()
    const before = await users.findOne({ number: meera.phone })
    const everything = {
      _id: '665f1c2ab7e4d90012ab34cd',
      number: freshPhone(),
      admin: true,
      blocked: true,
      created_on: '2001-01-01',
      username_key: 'x',
      old_number: '+911',
      sessions: [],
      schema: 1,
      deleting: 0,
      former_numbers: [],
      duplicate_of: meera.id,
      $set: { admin: true },
      prototype: { admin: true }
    }
    t.match(await call('PATCH', '/users/me', { token: meera.token, json: everything }), {
      status: 200,
      body: { admin: false }
    })
    for (const body of ['{"__proto__":{"admin":true}}', '{"constructor":{"prototype":{"admin":true}}}']) {
      t.match(
        await call('PATCH', '/users/me', { token: meera.token, body, headers: { 'content-type': 'application/json' } }),
        { status: 200, body: { admin: false } }
      )
    }
    t.same(await users.findOne({ number: meera.phone }), before)
  })

  t.test('gives a row of the replaced system its unique key', async t => {
    const { phone, token } = await caller()
    const username = freshName()
    await users.updateOne({ number: phone }, { $set: { username } })
    t.equal((await call('PATCH', '/users/me', { token, json: { username } })).status, 200)
    t.match(await users.findOne({ number: phone }), { username, username_key: username })
  })

  t.test('refuses invalid names', async t => {
    const meera = await person()
    for (const [username, sentence] of [
      ['', 'Length must be between 1 and 64.'],
      ['x'.repeat(65), 'Length must be between 1 and 64.'],
      ['a\u0000b', 'Not a valid value.'],
      ['\ud800', 'Not a valid value.'],
      ['a\udc00', 'Not a valid value.'],
      ...[null, 1, true, [], ['x'], {}, { $gt: '' }, { $ne: null }, { $regex: '.*' }].map(value =>
        [value, 'Not a valid string.'] as const)
    ] as const) {
      t.match(
        await rename(meera, username),
        { status: 400, body: { errors: { username: [sentence] } } },
        JSON.stringify(username)
      )
    }
  })

  t.test('404 before there is a user', async t => {
    const { token } = await caller()
    t.match(await call('PATCH', '/users/me', { token, json: { username: freshName() } }), USER_NOT_FOUND)
    t.match(await call('PATCH', '/users/me', { token }), USER_NOT_FOUND)
  })

  t.test('when twenty accounts want one name at once, one gets it', async t => {
    const people = await Promise.all(Array.from({ length: 20 }, person))
    const name = freshName()
    const answers = await Promise.all(people.map(someone => rename(someone, name)))
    t.same([200, 409].map(wanted => answers.filter(({ status }) => status === wanted).length), [1, 19])
  })
})

t.test('DELETE /users/me', async t => {
  t.test('signs out everywhere, keeps items without an owner, and frees name and number at once', async t => {
    const meera = await person()
    const second = await service.tokenFor(meera.phone)
    const item = (await service.upload(meera.token, gif)).body
    const asha = await person()
    const hers = (await service.upload(asha.token, gif)).body.id
    t.equal(item.owner_id, meera.id)
    t.equal((await other.call('GET', '/users/me', { token: second })).status, 200)

    const { status, text } = await call('DELETE', '/users/me', { token: meera.token })
    t.same([status, text], [204, ''])
    for (const token of [meera.token, second]) t.match(await call('GET', '/users/me', { token }), INVALID_TOKEN)
    clock.advance(10)
    t.match(
      await other.call('GET', '/users/me', { token: second }),
      INVALID_TOKEN,
      'in every process after ten seconds'
    )
    t.match(await call('GET', `/users/${meera.id}`, { token: asha.token }), USER_NOT_FOUND)

    const row = await library.findOne({ _id: new ObjectId(item.id as string) })
    t.notOk('owner' in row!)
    t.equal(row?.user_id, 'deleted')
    const listed = (await call('GET', '/library?per_page=100', { token: asha.token })).body.items.find(
      ({ id }: { id: string }) => id === item.id
    )
    t.same(listed, {
      ...Object.fromEntries(Object.entries(item).filter(([name]) => name !== 'message')),
      user_id: 'deleted',
      owner_id: null
    })
    t.equal((await fetch(item.url)).status, 200)
    t.equal(
      (await call('GET', `/library/${hers}`, { token: asha.token })).body.owner_id,
      asha.id,
      'an item of another account stays'
    )

    const again = await service.signIn(meera.phone)
    t.match(await call('GET', '/users/me', { token: again.token }), USER_NOT_FOUND)
    const { body } = await call('POST', '/users', {
      token: again.token,
      json: { username: meera.username, number: meera.phone }
    })
    t.not(body.user_id, meera.id)
    await app.audit.flush()
    t.equal(await app.collections.audit.countDocuments({ event: 'user.deleted', account: new ObjectId(meera.id) }), 1)
    t.match(await app.collections.released_numbers.findOne({ _id: meera.phone }), { until: Date, expires_at: Date })
  })

  t.test('works before there is a name', async t => {
    const { phone, token } = await caller()
    const { body: { id } } = await service.upload(token, gif)
    t.equal((await call('DELETE', '/users/me', { token })).status, 204)
    t.match(await library.findOne({ _id: new ObjectId(id as string) }), { user_id: 'deleted' })
    t.equal(await users.countDocuments({ number: phone }), 0)
  })

  t.test('an upload that is under way ends without an owner', async t => {
    const meera = await person()
    const upload = await halfAnUpload(meera.token)
    t.equal((await call('DELETE', '/users/me', { token: meera.token })).status, 204)
    const { status, body } = await upload.finish()
    t.match([status, body.user_id, body.owner_id], [201, 'deleted', null])
    const row = await library.findOne({ _id: new ObjectId(body.id as string) })
    t.notOk('owner' in row!)
    t.equal(row!.user_id, 'deleted')
    t.equal(await uploads.countDocuments(), 0)
  })

  t.test('an upload to a process that still knows the session is refused, and leaves nothing', async t => {
    const meera = await person()
    t.equal((await other.call('GET', '/users/me', { token: meera.token })).status, 200)
    t.equal((await call('DELETE', '/users/me', { token: meera.token })).status, 204)
    const before = await service.remains()
    t.match(await other.upload(meera.token, gif), INVALID_TOKEN)
    t.same(await eventually(async () => await uploads.countDocuments() === 0 && service.remains()), before)
  })

  t.test('the Idempotency-Keys of the account go with it', async t => {
    const meera = await person()
    const once = { headers: { 'idempotency-key': 'once' }, json: { username: meera.username, number: meera.phone } }
    t.equal((await call('POST', '/users', { token: meera.token, ...once })).status, 201)
    t.equal(await app.collections.idempotency.countDocuments({ owner: new ObjectId(meera.id) }), 1)
    t.equal((await call('DELETE', '/users/me', { token: meera.token })).status, 204)
    t.equal(await app.collections.idempotency.countDocuments({ owner: new ObjectId(meera.id) }), 0)
  })

  t.test('when it stops after any of its writes, a sweep does the rest', async t => {
    for (const writes of [1, 2]) {
      const meera = await person()
      const { body: { id } } = await service.upload(meera.token, gif)
      await app.collections.released_numbers.insertOne({
        _id: meera.phone,
        until: clock.now,
        expires_at: new Date(clock.now.getTime() + 1e12)
      })
      const _id = new ObjectId(meera.id)
      if (writes === 2) {
        await users.updateOne({ _id }, {
          $set: { deleting: clock.now, sessions: [] },
          $unset: { number: '', username: '', username_key: '' }
        })
      }
      await service.app.sweeper.sweep()
      t.equal(
        await library.countDocuments({ _id: new ObjectId(id as string), owner: _id }),
        1,
        'not before an upload could have ended'
      )
      clock.advance(661)
      await service.app.sweeper.sweep()
      t.equal(await users.countDocuments({ _id }), writes === 1 ? 1 : 0)
      t.equal((await library.findOne({ _id: new ObjectId(id as string) }))?.user_id, writes === 1 ? 'meera' : 'deleted')
    }
  })
})

t.test('POST /users/me/number', async t => {
  t.test('with the code of the new number changes it in place: devices, items and admin rights stay', async t => {
    const meera = await person()
    const second = await service.tokenFor(meera.phone)
    await users.updateOne({ number: meera.phone }, { $set: { admin: true } })
    const { body: { id } } = await service.upload(meera.token, gif)
    const to = freshPhone()
    t.match(await ask(meera.token, to.slice(3)), { status: 200, body: { message: 'OTP sent' } })
    const { status, body, headers } = await confirm(meera.token, ` ${to} `)
    t.equal(status, 200)
    t.strictSame(
      Object.keys(body).sort(),
      [
        '_id', 'access_token', 'admin', 'created_on', 'expires_in', 'message', 'number', 'success', 'token_type',
        'username'
      ]
    )
    t.match(body, {
      success: true,
      message: 'Number changed',
      _id: meera.id,
      username: meera.username,
      number: to,
      admin: true,
      token_type: 'Bearer',
      expires_in: 365 * 24 * 3600
    })
    t.equal(headers.get('cache-control'), 'no-store')

    for (const token of [meera.token, second, body.access_token]) {
      t.match(await call('GET', '/users/me', { token }), { status: 200, body: { _id: meera.id, number: to } })
    }
    t.match(
      claimsOf(body.access_token),
      { sid: claimsOf(meera.token).sid, sub: meera.id },
      'account and session are the same'
    )
    t.equal((await call('GET', `/library/${id}`, { token: second })).body.owner_id, meera.id)
    t.same(
      await call('GET', `/users/${(await person()).id}`, { token: second }).then(({ body }) =>
        body.number.includes('*')),
      false,
      'an admin still'
    )
    t.match(await users.findOne({ number: to }), { former_numbers: [{ number: meera.phone, until: clock.now }] })
    t.ok((await recorded(to)).includes('number.changed'))
    t.same(
      (await call('POST', '/users', {
        token: meera.token,
        json: { username: meera.username, number: to }
      })).body.user_id,
      meera.id,
      'the app signs in as ever'
    )
  })

  t.test('leaves nothing behind for the next holder of the old number', async t => {
    const meera = await person()
    await call('POST', '/auth/request-otp', { json: { phone: meera.phone } })
    await changeNumber(meera, freshPhone())
    const next = {
      phone: meera.phone,
      token: (await call('POST', '/auth/verify-otp', {
        json: { phone: meera.phone, otp: service.lastCode(meera.phone) }
      })).body.access_token as string
    }
    t.match(
      await call('GET', '/users/me', { token: next.token }),
      USER_NOT_FOUND,
      'a code that was out opens nothing of the user'
    )
    t.equal((await call('GET', '/auth/sessions', { token: next.token })).body.sessions.length, 1)
    const {
      body: { user_id: id }
    } = await call('POST', '/users', { token: next.token, json: { username: freshName(), number: next.phone } })
    t.not(id, meera.id)
    t.match(await call('GET', '/users/me', { token: meera.token }), { body: { _id: meera.id } })
  })

  t.test(
    'tokens of the replaced system open neither the account at its new number nor another at the old one',
    async t => {
      const old = await startService(t, { services, env: { JWT_LEGACY_SECRET: LEGACY_SECRET }, now: () => clock.now })
      const who = await caller()
      const iat = clock.now.getTime() / 1000 - 1000
      const legacy = (sub: string, at: number) => legacyToken({
        sub,
        type: 'access',
        iat: at,
        exp: iat + 10 * 365 * 24 * 3600
      })
      const [unseen, seen] = [legacy(who.phone, iat), legacy(who.phone, iat + 1)]
      t.equal((await old.call('GET', '/auth/sessions', { token: seen })).status, 200)
      const meera = await person(who)
      t.match(await old.call('GET', '/users/me', { token: seen }), { body: { _id: meera.id } })
      const to = freshPhone()
      const ofNew = legacy(to, iat)
      await changeNumber(meera, to)
      clock.advance(10)
      for (const token of [unseen, seen, ofNew]) t.match(await old.call('GET', '/users/me', { token }), INVALID_TOKEN)
      const next = await service.signIn(meera.phone)
      for (const token of [unseen, seen]) {
        t.match(
          await old.call('GET', '/auth/sessions', { token }),
          INVALID_TOKEN,
          'also when the old number has an account again'
        )
      }
      t.equal((await old.call('GET', '/auth/sessions', { token: next.token })).body.sessions.length, 1)
      clock.advance(1)
      const again = await service.signIn(to)
      t.equal((await call('DELETE', '/users/me', { token: again.token })).status, 204)
      for (const token of [unseen, seen, ofNew]) {
        t.match(await old.call('GET', '/auth/sessions', { token }), INVALID_TOKEN, 'nor when the account is deleted')
      }
    }
  )

  t.test('takes the number from an account without a name, which is deleted', async t => {
    const former = await caller()
    const { body: { id } } = await service.upload(former.token, gif)
    const account = await accountOf(app, former.phone)
    t.equal((await other.call('GET', '/auth/sessions', { token: former.token })).status, 200)
    const meera = await person()
    await changeNumber(meera, former.phone)
    clock.advance(10)
    for (const at of [service, other]) {
      t.match(await at.call('GET', '/auth/sessions', { token: former.token }), INVALID_TOKEN)
      t.match(await at.call('GET', '/users/me', { token: meera.token }), {
        body: { _id: meera.id, number: former.phone }
      })
    }
    t.match(await library.findOne({ _id: new ObjectId(id as string) }), { user_id: 'deleted' })
    t.match(await users.findOne({ _id: account }), { deleting: Date, sessions: [] })
    t.ok(await app.collections.released_numbers.findOne({ _id: former.phone }))
  })

  t.test('does not take it from one that is blocked', async t => {
    const former = await caller()
    await users.updateOne({ number: former.phone }, { $set: { blocked: true, sessions: [] } })
    const meera = await person()
    await call('POST', '/users/me/number', { token: meera.token, json: { number: former.phone } })
    await users.updateOne({ number: former.phone }, { $set: { blocked: false } })
    clock.advance(20)
    await ask(meera.token, former.phone)
    await users.updateOne({ number: former.phone }, { $set: { blocked: true } })
    t.ok([200, 409].includes((await confirm(meera.token, former.phone)).status))
    t.match(await call('GET', '/users/me', { token: meera.token }), { body: { number: meera.phone } })
    t.match(await users.findOne({ number: former.phone }), { blocked: true })
  })

  t.test('at most 20 times for one account', async t => {
    const meera = await person()
    await users.updateOne({ number: meera.phone }, {
      $set: { former_numbers: Array.from({ length: 20 }, () => ({ number: freshPhone(), until: clock.now })) }
    })
    const { status, headers } = await ask(meera.token, freshPhone())
    t.match([status, headers.get('retry-after')], [429, /^[1-9]\d*$/])
  })

  t.test('works before there is a name', async t => {
    const { token } = await caller()
    const to = freshPhone()
    await changeNumber({ token }, to)
    t.match(await users.findOne({ number: to }), { former_numbers: [{}] })
    t.match(await call('GET', '/users/me', { token }), USER_NOT_FOUND)
  })

  t.test('a wrong code, and one wrong code too many, get the answers of the login', async t => {
    const meera = await person()
    const to = freshPhone()
    t.match(await verify(meera.token, to, '123456'), INVALID_OTP, 'never asked for')
    for (let round = 0; round < 2; round++) {
      await ask(meera.token, to)
      const wrong = service.lastCode(to) === '000000' ? '000001' : '000000'
      for (const otp of ['', '12345', 'abcdef', wrong, wrong, wrong, wrong, wrong]) {
        t.strictSame(pick(await verify(meera.token, to, otp)), INVALID_OTP)
      }
      t.strictSame(pick(round === 0 ? await confirm(meera.token, to) : INVALID_OTP), INVALID_OTP, 'the code is dead')
      clock.advance(60)
    }
    await ask(meera.token, to)
    const wrong = service.lastCode(to) === '000000' ? '000001' : '000000'
    await verify(meera.token, to, wrong)
    const { status, headers } = await confirm(meera.token, to)
    t.match([status, headers.get('retry-after')], [429, /^[1-9]\d*$/])
    t.match(await call('GET', '/users/me', { token: meera.token }), { body: { number: meera.phone } })
  })

  t.test('the budgets of the login hold', async t => {
    const meera = await person()
    const to = freshPhone()
    for (const gap of [0, 15, 30]) {
      clock.advance(gap)
      t.equal((await ask(meera.token, to)).status, 200)
    }
    t.equal(service.sms.filter(text => text.to === to).length, 3, 'from one address')
    clock.advance(61)
    const { status, headers } = await ask(meera.token, to)
    t.match([status, headers.get('retry-after')], [429, /^[1-9]\d*$/])
  })

  t.test('only the right code tells whether the number is taken', async t => {
    const [meera, asha] = [await person(), await person()]
    t.match(await ask(meera.token, asha.phone), { status: 200, body: { message: 'OTP sent' } })
    t.match(await verify(meera.token, asha.phone, 'x'), INVALID_OTP)
    t.match(await confirm(meera.token, asha.phone), NUMBER_TAKEN)
    t.match(await call('GET', '/users/me', { token: meera.token }), { body: { number: meera.phone } })
    t.match(await call('GET', '/users/me', { token: asha.token }), { body: { _id: asha.id } })
  })

  t.test('refuses the caller\'s present number', async t => {
    const meera = await person()
    for (const answer of [await ask(meera.token, meera.phone), await verify(meera.token, meera.phone, '123456')]) {
      t.match(answer, { status: 400, body: { errors: { number: ['Not a valid value.'] } } })
    }
  })

  t.test('refuses an invalid number, and a test number', async t => {
    const meera = await person()
    for (const path of ['/users/me/number', '/users/me/number/verify']) {
      const send = (number: unknown) => call('POST', path, { token: meera.token, json: { number, otp: '123456' } })
      for (const number of ['', 'x', '123', '\ud800', '+0', `${freshPhone()} ext. 5`]) {
        t.match(
          await send(number),
          { status: 400, body: { errors: { number: ['Not a valid phone number.'] } } },
          JSON.stringify(number)
        )
      }
      for (const number of [null, 919876543210, true, [freshPhone()], { $gt: '' }, { $ne: null }, { $regex: '.*' }]) {
        t.match(
          await send(number),
          { status: 400, body: { errors: { number: ['Not a valid string.'] } } },
          JSON.stringify(number)
        )
      }
      t.match(await send(TEST_NUMBER), { status: 400, body: { errors: { number: ['Not a valid value.'] } } })
      t.match(await call('POST', path, { token: meera.token, json: {} }), {
        status: 400,
        body: { errors: { number: ['Missing data for required field.'] } }
      })
      t.match(await call('POST', path, { token: meera.token }), {
        status: 400,
        body: { errors: { _schema: ['Invalid input.'] } }
      })
    }
    for (const otp of [null, 123456, [], {}, { $gt: '' }, { $ne: null }]) {
      t.match(await verify(meera.token, freshPhone(), otp), {
        status: 400,
        body: { errors: { otp: ['Not a valid string.'] } }
      })
    }
    t.match(await call('GET', '/users/me', { token: meera.token }), { body: { number: meera.phone } })
  })

  t.test('the account of a test number keeps its number', async t => {
    const token = await service.tokenFor(TEST_NUMBER)
    const { id } = await person({ phone: TEST_NUMBER, token })
    const to = freshPhone()
    for (const answer of [await ask(token, to), await verify(token, to, '123456')]) {
      t.match(answer, { status: 400, body: { errors: { number: ['Not a valid value.'] } } })
    }
    t.match(await call('GET', '/users/me', { token }), { body: { _id: id, number: TEST_NUMBER } })
  })

  t.test(`a number that another caller registers meanwhile belongs to one user, ${ROUNDS} times`, async t => {
    for (let round = 0; round < ROUNDS; round++) {
      const meera = await person()
      const rival = await caller()
      clock.advance(60)
      await ask(meera.token, rival.phone)
      const [move, creation] = await Promise.all([
        confirm(meera.token, rival.phone),
        call('POST', '/users', { token: rival.token, json: { username: freshName(), number: rival.phone } })
      ])
      t.match(
        [[200, 409], [200, 401], [200, 403], [409, 201]].some(([a, b]) => a === move.status && b === creation.status),
        true,
        `${move.status} ${creation.status}`
      )
      t.equal(await users.countDocuments({ number: rival.phone }), 1)
      t.equal(
        await users.countDocuments({
          _id: new ObjectId(meera.id),
          number: move.status === 200 ? rival.phone : meera.phone
        }),
        1
      )
    }
  })

  t.test('two devices that change to two numbers at once end at one of them, with everything', async t => {
    const meera = await person()
    const second = await service.tokenFor(meera.phone)
    const { body: { id } } = await service.upload(meera.token, gif)
    const [a, b] = [freshPhone(), freshPhone()]
    await Promise.all([ask(meera.token, a), ask(second, b)])
    const answers = await Promise.all([
      confirm(meera.token, a),
      other.call('POST', '/users/me/number/verify', { token: second, json: { number: b, otp: service.lastCode(b) } })
    ])
    t.ok(answers.some(({ status }) => status === 200))
    t.ok(answers.every(({ status }) => status === 200))
    clock.advance(10)
    const { body: { number } } = await call('GET', '/users/me', { token: meera.token })
    t.ok([a, b].includes(number))
    t.match(await call('GET', '/users/me', { token: second }), { body: { _id: meera.id, number } })
    t.equal((await call('GET', `/library/${id}`, { token: second })).body.owner_id, meera.id)
  })

  t.test('uploads and number changes at once lose nothing', async t => {
    const meera = await person()
    const numbers = Array.from({ length: 4 }, freshPhone)
    const sent: Array<Promise<Reply>> = []
    for (const number of numbers) {
      await ask(meera.token, number)
      for (let i = 0; i < 5; i++) sent.push(service.upload(meera.token, gif), other.upload(meera.token, gif))
      t.equal((await confirm(meera.token, number)).status, 200)
    }
    for (const { status, body } of await Promise.all(sent)) t.same([status, body.owner_id], [201, meera.id])
  })
})

t.test('a change at one instance shows at another at once', async t => {
  const { phone, token } = await service.signIn()
  t.equal((await other.call('GET', '/library', { token })).status, 200)
  const {
    body: { user_id: id }
  } = await call('POST', '/users', { token, json: { username: `seen ${phone}`, number: phone } })
  t.match(await other.call('GET', '/users/me', { token }), { status: 200, body: { _id: id } })
  const second = await service.signIn(phone)
  t.same(
    (await other.call('GET', '/auth/sessions', { token })).body.sessions.map(({ id }: { id: string }) => id).sort(),
    [token, second.token].map(one => claimsOf(one).sid).sort()
  )
})

t.test('a logout of all devices by a session that has ended meanwhile is 401, and ends nothing', async t => {
  const phone = freshPhone()
  const [first, second] = [
    (await app.sessions.open(phone, requestContextOf(app)))!,
    (await app.sessions.open(phone, requestContextOf(app)))!
  ]
  await t.rejects(app.sessions.logOut('all', first, requestContextOf(app)), { message: 'Invalid access token' })
  t.equal((await call('GET', '/auth/sessions', { token: app.issueToken(second).token })).status, 200)
})

t.test('GET /users/me/export', async t => {
  t.test('is everything about the caller, as a file', async t => {
    const meera = await service.signIn().then(({ phone, token }) => person({ phone, token }))
    const { body: item } = await service.upload(meera.token, gif, { fields: { user_id: 'meera', title: 'Fox' } })
    await service.upload((await person()).token, gif)
    const upload = await halfAnUpload(meera.token)
    await call('POST', '/auth/request-otp', { json: { phone: meera.phone } })
    const { status, body, headers, text } = await call('GET', '/users/me/export', {
      token: meera.token,
      headers: { 'user-agent': 'tester' }
    })
    await upload.finish()
    t.equal(status, 200)
    t.equal(headers.get('content-type'), 'application/json; charset=utf-8')
    t.equal(
      headers.get('content-disposition'),
      `attachment; filename="hookaba-${clock.now.toISOString().slice(0, 10)}.json"`
    )
    t.equal(headers.get('cache-control'), 'no-store')
    t.strictSame(
      Object.keys(body),
      ['exported_at', 'user', 'former_numbers', 'duplicates', 'sessions', 'login', 'uploads', 'items', 'audit']
    )
    t.equal(body.exported_at, clock.now.toISOString())
    t.strictSame(body.user, {
      _id: meera.id,
      username: meera.username,
      number: meera.phone,
      created_on: meera.createdOn,
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
    const otp = stateOf(await app.collections.otps.findOne({ _id: meera.phone }))
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

  t.test('tells nothing that a former holder of the number did', async t => {
    const [former, meera] = [await service.signIn(), await person()]
    await call('POST', '/auth/verify-otp', { json: { phone: former.phone, otp: '123456' } })
    clock.advance(20 * 24 * 3600)
    const at = clock.now.toISOString()
    const next = await service.tokenFor(meera.phone)
    await changeNumber({ token: next }, former.phone)
    const { body: { audit } } = await call('GET', '/users/me/export', { token: next })
    t.ok(audit.some(({ event }: { event: string }) => event === 'number.changed'))
    t.ok(audit.some((row: { at: string }) => row.at < at), 'but what the caller did at another number')
    t.same(audit.filter((row: { at: string, event: string }) => row.at < at && row.event.startsWith('otp.')), [])
  })

  t.test('tells what others did to the caller, but not who they are or where', async t => {
    const [chief, meera] = [await person(), await person()]
    await users.updateOne({ number: chief.phone }, { $set: { admin: true } })
    for (const json of [{ blocked: true }, { blocked: false, admin: true }]) {
      await call('PATCH', `/users/${meera.id}`, { token: chief.token, json })
    }
    const { body: { audit } } = await call('GET', '/users/me/export', { token: await service.tokenFor(meera.phone) })
    const done = audit.filter(({ event, details }: { event: string, details: { reason?: string } }) =>
      event === 'user.rights_changed' || details.reason === 'blocked')
    t.equal(done.length, 3)
    for (const row of done) t.notHas(row, { network: String, request_id: String, details: { by: String } })
    t.notOk(JSON.stringify(audit).includes(chief.phone.slice(-4)))
  })

  t.test('has the further users that the number once had; they go with the account', async t => {
    const [meera, asha] = [await person(), await person()]
    const rows = [meera, asha].map(({ id, phone }) => ({
      _id: new ObjectId(),
      username: freshName(),
      username_key: freshName(),
      old_number: phone.slice(3),
      duplicate_of: new ObjectId(id),
      admin: false,
      created_on: clock.now
    }))
    await users.insertMany(rows.map(userRow))
    const { body: { duplicates } } = await call('GET', '/users/me/export', { token: meera.token })
    t.strictSame(
      duplicates,
      [
        {
          _id: rows[0]!._id.toHexString(),
          username: rows[0]!.username,
          number: meera.phone.slice(3),
          created_on: clock.now.toISOString()
        }
      ]
    )
    t.equal((await call('DELETE', '/users/me', { token: meera.token })).status, 204)
    t.same(
      await users.find({ _id: { $in: rows.map(({ _id }) => _id) } }).map(({ _id }) => _id).toArray(),
      [rows[1]!._id]
    )
  })

  t.test('without a name it has what there is', async t => {
    const { token, phone } = await caller()
    const { status, body } = await call('GET', '/users/me/export', { token })
    t.match(
      [status, body.user, body.login, body.items, body.sessions.length],
      [200, { username: '', number: phone }, undefined, [], 1]
    )
  })

  t.test('with very many items it is whole, newest first, and comes in pieces', async t => {
    const meera = await person()
    const count = process.env.TEST_REAL ? 500 : 5000
    await insertRows(
      library,
      Array.from({ length: count }, (_, i) => ({
        _id: new ObjectId(),
        key: `library/${i}/original.gif`,
        owner: new ObjectId(meera.id),
        user_id: 'meera',
        type: 'gif',
        category: 'GIF',
        created_at: new Date(clock.now.getTime() - i)
      }))
    )
    const { body, headers } = await call('GET', '/users/me/export', { token: meera.token })
    t.equal(headers.get('content-length'), null)
    t.equal(body.items.length, count)
    t.match([body.items[0].url, body.items.at(-1).url], [/\/library\/0\//, new RegExp(`/library/${count - 1}/`)])
    t.equal((await call('DELETE', '/users/me', { token: meera.token })).status, 204)
    t.equal(await library.countDocuments({ owner: new ObjectId(meera.id) }), 0)
    await library.deleteMany({ key: { $regex: '^library/[0-9]+/' } })
  })

  t.test('a client that hangs up halfway does no harm', async t => {
    const meera = await person()
    await insertRows(
      library,
      Array.from({ length: 3000 }, (_, i) => ({
        _id: new ObjectId(),
        key: `library/${i}/original.gif`,
        owner: new ObjectId(meera.id),
        user_id: 'meera'.repeat(50),
        type: 'gif',
        category: 'GIF',
        created_at: clock.now
      }))
    )
    await new Promise<void>(resolve => {
      http
        .get(
          `${service.url}/users/me/export`,
          { headers: { authorization: `Bearer ${meera.token}` }, agent: false },
          response => response.once('data', () => response.destroy()).once('close', resolve)
        )
        .on(
          'error',
          () => {}
        )
    })
    t.equal((await call('GET', '/users/me', { token: meera.token })).status, 200)
    await library.deleteMany({ key: { $regex: '^library/[0-9]+/' } })
  })
})

interface Caller { phone: string, token: string }
interface Person extends Caller { id: string, username: string, createdOn: string }

async function caller (): Promise<Caller> {
  const phone = freshPhone()
  return { phone, token: await service.tokenFor(phone) }
}

/** A caller with a user. */
async function person (who?: Caller): Promise<Person> {
  const { phone, token } = typeof who === 'object' ? who : await caller()
  const username = freshName()
  const { body: { user_id: id } } = await call('POST', '/users', { token, json: { username, number: phone } })
  return { phone, token, id, username, createdOn: clock.now.toISOString() }
}

function freshName (): string {
  return `name ${names++}`
}

function rename ({ token }: Caller, username: unknown): Promise<Reply> {
  return call('PATCH', '/users/me', { token, json: { username } })
}

function ask (token: string, number: string): Promise<Reply> {
  return call('POST', '/users/me/number', { token, json: { number } })
}

function verify (token: string, number: string, otp: unknown): Promise<Reply> {
  return call('POST', '/users/me/number/verify', { token, json: { number, otp } })
}

/** Confirms the number with the code of the last SMS. */
function confirm (token: string, number: string): Promise<Reply> {
  return verify(token, number, service.lastCode(number.trim()))
}

async function changeNumber ({ token }: Pick<Caller, 'token'>, to: string): Promise<void> {
  await ask(token, to)
  const { status } = await confirm(token, to)
  if (status !== 200) throw new Error(`the number change was answered with ${status}`)
}

async function recorded (phone: string): Promise<string[]> {
  return (await auditOf(app, phone)).map(({ event }) => event)
}

function pick ({ status, body }: Pick<Reply, 'status' | 'body'>): Pick<Reply, 'status' | 'body'> {
  return { status, body }
}

/** A token in the form of the replaced system. */
function legacyToken (payload: object): string {
  const text = [{ alg: 'HS256', typ: 'JWT' }, payload]
    .map(part => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join(
      '.'
    )
  return `${text}.${createHmac('sha256', LEGACY_SECRET).update(text).digest('base64url')}`
}

/** An upload whose upload record exists, and whose file has not ended. */
async function halfAnUpload (token: string, at: Service = service): Promise<{
  finish: () => Promise<{ status: number, body: Reply['body'] }>
}> {
  const body = form([field('user_id', 'meera'), file(gif)])
  const cut = body.length - 60
  const request = open(at, token)
  const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
    request.on('response', resolve).on('error', reject)
  })
  answered.catch(() => {})
  const before = await uploads.countDocuments()
  request.write(body.subarray(0, cut))
  await eventually(async () => await uploads.countDocuments() === before + 1)
  return {
    async finish () {
      request.end(body.subarray(cut))
      const response = await answered
      return { status: response.statusCode!, body: await json(response) }
    }
  }
}
