import { createHmac } from 'node:crypto'
import { ObjectId } from 'mongodb'
import t, { type Test } from 'tap'
import { burstOf, type Answer, type Burst } from '../helpers/pipelined-posts.js'
import { accountOf, freshPhone, userRow } from '../helpers/accounts.js'
import { startService, type Reply } from '../helpers/service.js'
import { startServices } from '../helpers/backends.js'
import { mongoProxy } from '../helpers/proxy.js'
import { scale } from '../helpers/test-length.js'

/** Independent servers may be slow: fewer rounds there. */
const ROUNDS = scale({ short: 6, long: 1000, real: 3 })
const NUMBER_TAKEN = { error: 'Phone number already in use' }
const USERNAME_TAKEN = { error: 'Username already in use' }
const FOREIGN = { error: 'Phone number is not your own' }
const CREATED_ON = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const UNKNOWN_ID = '665f1c2ab7e4d90012ab34cd'

t.setTimeout(scale({ short: 1_800_000, long: 14_400_000 }))
const appName = `users-${Math.random().toString(36).slice(2)}`
const services = await startServices(t)
const service = await startService(t, {
  services,
  env: { MONGO_URI: withOption(services.mongoUri, 'appName', appName) }
})
const { app, call, clock } = service
const { users } = app.collections
const burst = burstOf(t, service)
let names = 0

t.test('POST /users', async t => {
  t.test('creates the caller\'s user', async t => {
    const { phone, token } = await service.signIn()
    const username = freshName()
    const { status, body, headers } = await create(token, username, phone)
    t.equal(status, 201)
    t.same(body, { message: 'User created', user_id: body.user_id })
    t.match(body.user_id, /^[0-9a-f]{24}$/)
    t.equal(headers.get('cache-control'), 'no-store')
    t.match(await users.findOne({ number: phone }), {
      _id: new ObjectId(body.user_id as string),
      schema: 2,
      username,
      username_key: username,
      number: phone,
      admin: false,
      created_on: clock.now,
      sessions: [{ login_at: clock.now }]
    })
    t.same(
      body.user_id,
      JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()).sub,
      'the account that the first sign-in made'
    )
  })

  t.test('the same username and number again are the same user, in any notation', async t => {
    const { phone, token } = await caller()
    const username = `Amélie ${freshName()}`
    const first = await create(token, username, phone)
    for (const [name, number] of [
      [username, phone],
      [` ${username} `, phone.slice(3)],
      [username.toUpperCase(), `0${phone.slice(3)}`],
      [username.normalize('NFD'), `0091 ${phone.slice(3)}`]
    ] as const) {
      const { status, body } = await create(token, name, number)
      t.same([status, body], [201, first.body])
    }
    t.equal(await users.countDocuments({ number: phone }), 1)
    t.equal((await users.findOne({ number: phone }))?.username, username, 'the shown name stays')
  })

  t.test('ends no session of the account', async t => {
    const { phone, token } = await caller()
    clock.advance(20 * 24 * 3600)
    t.equal((await create(token, freshName(), phone)).status, 201)
    const tablet = await service.tokenFor(phone)
    for (const one of [token, tablet]) t.equal((await call('GET', '/users/me', { token: one })).status, 200)
  })

  t.test('finds the stored pair before it judges the name', async t => {
    const { phone, token } = await caller()
    const _id = await accountOf(app, phone)
    for (const username of ['x'.repeat(80), 'a\u0007b', 'a\u202eb', '']) {
      await users.updateOne({ _id }, { $set: { username } })
      t.same(
        (await create(token, username, phone)).body,
        { message: 'User created', user_id: _id.toHexString() },
        JSON.stringify(username)
      )
      t.match((await create(token, `${'y'.repeat(80)}`, phone)).status, 400, 'another name is judged')
      t.same((await create(token, freshName(), phone)).body, NUMBER_TAKEN)
    }
    const yours = await caller()
    refused(t, await create(yours.token, 'x'.repeat(80), phone), { username: ['Length must be between 1 and 64.'] })
    await users.updateOne({ _id }, { $set: { username: 'Findable', username_key: 'findable' } })
    const foreign = await create(yours.token, 'findable', phone)
    t.same([foreign.status, foreign.body], [409, USERNAME_TAKEN], 'another\'s pair is judged as a foreign number')
  })

  t.test('another username for the caller\'s number, or a taken one, is a conflict', async t => {
    const [mine, yours] = await Promise.all([caller(), caller()])
    const [myName, yourName] = [freshName(), freshName()]
    await create(mine.token, myName, mine.phone)
    const both = await create(mine.token, freshName(), mine.phone)
    t.same([both.status, both.body], [409, NUMBER_TAKEN])
    const taken = await create(yours.token, myName.toUpperCase(), yours.phone)
    t.same([taken.status, taken.body], [409, USERNAME_TAKEN])
    await create(yours.token, yourName, yours.phone)
    const twice = await create(mine.token, yourName, mine.phone)
    t.same([twice.status, twice.body], [409, NUMBER_TAKEN], 'the number is judged before the username')
  })

  t.test('a foreign number tells nothing but whether the username is taken', async t => {
    const [mine, yours] = await Promise.all([caller(), caller()])
    const name = freshName()
    await create(yours.token, name, yours.phone)
    for (const [what, number] of [['registered', yours.phone], ['unregistered', freshPhone()]] as const) {
      const free = await create(mine.token, freshName(), number)
      t.same([free.status, free.body], [403, FOREIGN], what)
      const taken = await create(mine.token, name, number)
      t.same([taken.status, taken.body], [409, USERNAME_TAKEN], what)
    }
    t.equal(await users.countDocuments({ number: mine.phone, username: { $exists: true } }), 0)
  })

  t.test('a bad request is named before anything else', async t => {
    const { token } = await caller()
    const yours = await caller()
    const name = freshName()
    await create(yours.token, name, yours.phone)
    refused(t, await create(token, name, 'x'), { number: ['Not a valid phone number.'] })
    refused(t, await create(token, '', yours.phone), { username: ['Length must be between 1 and 64.'] })
    refused(t, await call('POST', '/users', { token, json: { username: name } }), {
      number: ['Missing data for required field.']
    })
  })

  t.test('any number will do where USERS_REQUIRE_OWN_NUMBER is off', async t => {
    const { call, tokenFor } = await startService(t, { services, env: { USERS_REQUIRE_OWN_NUMBER: 'false' } })
    const token = await tokenFor(freshPhone())
    const [username, number] = [freshName(), freshPhone()]
    const ask = (username: string, number: string) => call('POST', '/users', { token, json: { username, number } })
    const first = await ask(username, number)
    t.equal(first.status, 201)
    t.same((await ask(username, number)).body, first.body)
    t.same((await ask(freshName(), number)).body, NUMBER_TAKEN)
    t.same((await ask(username, freshPhone())).body, USERNAME_TAKEN)
  })

  t.test('names every missing member, and makes no string of another type', async t => {
    const { phone, token } = await caller()
    const valid = { username: freshName(), number: phone }
    const missing = ['Missing data for required field.']
    refused(t, await call('POST', '/users', { token, json: {} }), { username: missing, number: missing })
    for (const name of ['username', 'number']) {
      refused(t, await call('POST', '/users', { token, json: { ...valid, [name]: undefined } }), { [name]: missing })
      for (const value of [
        null,
        9876543210,
        true,
        [],
        [valid.username],
        {},
        { $gt: '' },
        { $ne: null },
        { $regex: '.*' },
        { $in: [valid.username] }
      ]) {
        refused(
          t,
          await call('POST', '/users', { token, json: { ...valid, [name]: value } }),
          { [name]: ['Not a valid string.'] },
          `${name}: ${JSON.stringify(value)}`
        )
      }
    }
    refused(t, await call('POST', '/users', { token, json: { username: 1, number: null } }), {
      username: ['Not a valid string.'],
      number: ['Not a valid string.']
    })
  })

  t.test('refuses invalid names and numbers', async t => {
    const { phone, token } = await caller()
    for (const username of ['', ' \t', 'x'.repeat(65), '😀'.repeat(65), 'x'.repeat(10_000)]) {
      refused(t, await create(token, username, phone), { username: ['Length must be between 1 and 64.'] })
    }
    for (const username of ['a\0b', 'a\nb', 'a\u202eb', 'a\u2066b', '\u200b', '\u00ad']) {
      refused(t, await create(token, username, phone), { username: ['Not a valid value.'] })
    }
    for (const number of ['', 'x', '12', 'tel:+919876543210', `${phone}x1`, `${phone}\0`, '1234567890123456']) {
      refused(t, await create(token, freshName(), number), { number: ['Not a valid phone number.'] })
    }
    t.equal(await users.countDocuments({ number: phone, username: { $exists: true } }), 0)
    const { status, body } = await create(token, ` ${'😀'.repeat(64)} `, phone)
    t.equal(status, 201)
    t.equal((await users.findOne({ _id: new ObjectId(body.user_id as string) }))?.username, '😀'.repeat(64))
  })

  t.test('refuses lone surrogates: the database would make one name of them', async t => {
    const { phone, token } = await caller()
    const other = await caller()
    for (const surrogate of [
      '\\ud800', '\\udbff', '\\udc00', '\\udfff', 'a\\ud800b', '\\udc00\\ud800', '\\ud83d\\ud83d\\ude00'
    ]) {
      const post = (username: string, number: string) => call('POST', '/users', {
        token,
        body: `{"username":"${username}","number":"${number}"}`,
        headers: { 'content-type': 'application/json' }
      })
      refused(t, await post(surrogate, phone), { username: ['Not a valid value.'] }, surrogate)
      refused(t, await post(surrogate, other.phone), { username: ['Not a valid value.'] }, surrogate)
      refused(t, await post('x', `${phone}${surrogate}`), { number: ['Not a valid phone number.'] }, surrogate)
    }
    t.equal(await users.countDocuments({ number: phone, username: { $exists: true } }), 0)
  })

  t.test('names that look the same are one name', async t => {
    const name = `straße ${freshName()}`
    const mine = await caller()
    await create(mine.token, name, mine.phone)
    for (const same of [
      name.toUpperCase(),
      name.replace('s', '\u200bs'),
      name.replace('ß', 'ẞ'),
      name.replace('st', 'ﬆ'),
      `${name}\u00ad`,
      name.replace('s', 'ｓ'),
      name.replace('t', 't\u200d'),
      name.replace('r', '\ufeffr'),
      name.replace('n', '𝐧'),
      name.normalize('NFKD')
    ]) {
      const other = await caller()
      const { status, body } = await create(other.token, same, other.phone)
      t.same([status, body], [409, USERNAME_TAKEN], JSON.stringify(same))
    }
    const accented = `Zoë ${freshName()}`
    const zoe = await caller()
    await create(zoe.token, accented.normalize('NFD'), zoe.phone)
    // the last with a Cyrillic letter
    for (const [same, status] of [
      [accented.normalize('NFC'), 409],
      [accented.normalize('NFD').toUpperCase(), 409],
      [accented.replace('ë', 'e'), 201],
      [accented.replace('o', 'о'), 201]
    ] as const) {
      const other = await caller()
      t.equal((await create(other.token, same, other.phone)).status, status, JSON.stringify(same))
    }
  })

  t.test('makes no caller an admin', async t => {
    for (const member of [
      '"admin":true',
      '"admin":false',
      '"blocked":true,"moved":{},"duplicate_of":"x"',
      '"Admin":true,"prototype":{"admin":true}',
      '"role":"admin","_id":"665f1c2ab7e4d90012ab34cd"'
    ]) {
      const { phone, token } = await caller()
      const body = `{"username":"${freshName()}","number":"${phone}",${member}}`
      const {
        status,
        body: { user_id: id }
      } = await call('POST', '/users', { token, body, headers: { 'content-type': 'application/json' } })
      t.equal(status, 201, member)
      t.strictSame(
        Object.keys((await users.findOne({ _id: new ObjectId(id as string), number: phone, admin: false }))!).sort(),
        ['_id', 'admin', 'created_on', 'number', 'schema', 'sessions', 'username', 'username_key'],
        member
      )
      t.match((await call('GET', '/users/me', { token })).body, { admin: false, _id: id })
    }
    const { phone, token } = await caller()
    for (const value of ['"true"', '1', 'null', '{"$ne":false}']) {
      const { status, body } = await call('POST', '/users', {
        token,
        body: `{"username":"x","number":"${phone}","admin":${value}}`,
        headers: { 'content-type': 'application/json' }
      })
      t.same([status, body], [400, { errors: { admin: ['Not a valid boolean.'] } }], value)
    }
    for (const member of ['"__proto__":{"admin":true}', '"constructor":{"prototype":{"admin":true}}']) {
      const { phone, token } = await caller()
      const { status } = await call('POST', '/users', {
        token,
        body: `{"username":"${freshName()}","number":"${phone}",${member}}`,
        headers: { 'content-type': 'application/json' }
      })
      t.equal(status, 201, member)
      t.match((await call('GET', '/users/me', { token })).body, { admin: false })
    }
    t.notOk('admin' in {}, 'nor any object')
  })

  t.test('the name of an older user of the same number is found, however it is written', async t => {
    const { phone, token } = await service.signIn()
    const created = await call('POST', '/users', { token, json: { username: `kept ${phone}`, number: phone } })
    t.equal(created.status, 201)
    const { users } = service.app.collections
    await users.insertOne({
      ...userRow({ username: `Merged ${phone}` }),
      duplicate_of: new ObjectId(created.body.user_id as string)
    })
    t.match(await call('POST', '/users', { token, json: { username: `MERGED ${phone}`, number: phone } }), {
      status: 201,
      body: { message: 'User created', user_id: created.body.user_id }
    })
    t.equal((await call('POST', '/users', { token, json: { username: `other ${phone}`, number: phone } })).status, 409)
  })

  t.test('wants a JSON object', async t => {
    const { token } = await caller()
    const headers = { 'content-type': 'application/json' }
    for (const body of ['', '[]', '"x"', '1', 'null', '{']) {
      refused(
        t,
        await call('POST', '/users', { token, body, headers }),
        { _schema: ['Invalid input.'] },
        JSON.stringify(body)
      )
    }
    refused(t, await call('POST', '/users', { token }), { _schema: ['Invalid input.'] }, 'no body')
    for (const type of ['text/plain', 'multipart/form-data; boundary=x', 'application/x-www-form-urlencoded']) {
      const { status, body } = await call('POST', '/users', { token, body: '{}', headers: { 'content-type': type } })
      t.same([status, body], [415, { error: 'Unsupported media type' }], type)
    }
    const { status, body } = await call('POST', '/users', { token, json: { padding: 'x'.repeat(16 * 1024) } })
    t.same([status, body], [413, { error: 'Request body is larger than 16384 bytes' }])
  })

  t.test('a row of the replaced system is found by its name, however it is written', async t => {
    const { phone, token } = await caller()
    const _id = await accountOf(app, phone)
    await users.updateOne({ _id }, { $set: { username: `Old\u0007 ${freshName()}` } })
    const other = await create(token, freshName(), phone)
    t.same([other.status, other.body], [409, NUMBER_TAKEN])
    await users.updateOne({ _id }, { $set: { username: 'Meera Legacy' } })
    t.same((await create(token, 'meera legacy', phone)).body, { message: 'User created', user_id: _id.toHexString() })
  })

  t.test('a failing database is a 500 with the documented sentence, and gives nothing away', async t => {
    const { phone, token } = await caller()
    const name = freshName()
    for (const command of ['findAndModify', 'find']) {
      await whileFailing(command, async () => {
        const { status, body, text } = await create(token, name, phone)
        t.same([status, body], [500, { error: 'User creation failed' }], command)
        t.notMatch(text, /mongo|failpoint/i)
      })
    }
    t.equal(await users.countDocuments({ number: phone, username: { $exists: true } }), 0)
    t.notOk(
      service.logs.some(line => JSON.parse(line).level >= 50 && line.includes(phone.slice(3))),
      'no whole number in the logs'
    )
    t.equal((await create(token, name, phone)).status, 201, 'all is well again')
  })

  t.test('a caller whose connection was cut finds the new user on another try', async t => {
    const wire = await mongoProxy(services.mongoUri)
    t.teardown(wire.close)
    const apart = await startService(t, {
      services: { ...services, mongoUri: `${wire.uri}&retryWrites=false` },
      now: () => clock.now
    })
    let lost = 0
    for (let bytes = 20; bytes <= 2000; bytes += 60) {
      const { phone, token } = await caller()
      const username = freshName()
      const ask = () => apart.call('POST', '/users', { token, json: { username, number: phone } })
      t.equal((await apart.call('GET', '/users/me', { token })).status, 404, 'its session is known')
      wire.cutAfter(bytes, 'down', 1)
      const first = await ask()
      await wire.up()
      const made = await users.findOne({ number: phone, username })
      if (first.status === 500 && made) lost++
      const second = await ask()
      t.same(
        [second.status, second.body],
        [
          201,
          { message: 'User created', user_id: (made ?? await users.findOne({ number: phone }))?._id.toHexString() }
        ],
        `cut after ${bytes} bytes`
      )
      t.equal(await users.countDocuments({ number: phone }), 1)
    }
    t.ok(lost > 0, `${lost} answers were lost after the fact`)
  })

  t.test(`50 usernames for one own number at once: one 201 and 49 conflicts, ${ROUNDS} times`, async t => {
    await rounds(t, async () => {
      const { phone, token } = await caller()
      const answers = await burst(many(() => ({
        path: '/users',
        token,
        json: { username: freshName(), number: phone }
      })))
      return [created(answers), conflicts(answers, NUMBER_TAKEN), await users.countDocuments({ number: phone })]
    }, [1, 49, 1])
  })

  t.test(`one username from 50 owners at once: one 201 and 49 conflicts, ${ROUNDS} times`, async t => {
    await rounds(t, async () => {
      const username = freshName()
      const owners = await Promise.all(Array.from({ length: 50 }, caller))
      const answers = await burst(owners.map(({ phone, token }) => ({
        path: '/users',
        token,
        json: { username, number: phone }
      })))
      return [
        created(answers),
        conflicts(answers, USERNAME_TAKEN),
        await users.countDocuments({ username_key: username })
      ]
    }, [1, 49, 1])
  })

  t.test(`the same pair 50 times at once: 201 with one id, ${ROUNDS} times`, async t => {
    await rounds(t, async () => {
      const { phone, token } = await caller()
      const username = freshName()
      const answers = await burst(many(() => ({ path: '/users', token, json: { username, number: phone } })))
      return [
        created(answers),
        new Set(answers.map(({ body }) => body.user_id)).size,
        await users.countDocuments({ number: phone })
      ]
    }, [50, 1, 1])
  })
})

t.test('GET /users/{id}', async t => {
  const mine = await caller()
  const yours = await caller()
  const name = freshName()
  const { body: { user_id: id } } = await create(mine.token, name, mine.phone)

  t.test('the owner sees the whole number, others its last four digits', async t => {
    const own = await call('GET', `/users/${id}`, { token: mine.token })
    t.equal(own.status, 200)
    t.same(own.body, { _id: id, username: name, number: mine.phone, created_on: clock.now.toISOString() })
    t.match(own.body.created_on, CREATED_ON)
    t.equal(own.headers.get('cache-control'), 'no-store')
    const other = await call('GET', `/users/${id}`, { token: yours.token })
    t.same(other.body, { ...own.body, number: `+********${mine.phone.slice(-4)}` })
    const nobody = await call('GET', `/users/${id}`)
    t.same([nobody.status, nobody.body], [401, { error: 'Missing access token' }])
  })

  t.test('404 for a user that is not there', async t => {
    const { status, body, headers } = await call('GET', `/users/${UNKNOWN_ID}`, { token: mine.token })
    t.same([status, body], [404, { error: 'User not found' }])
    t.equal(headers.get('cache-control'), 'no-store')
  })

  t.test('400 for an invalid id', async t => {
    for (const bad of [
      'x',
      '123456789012',
      id.slice(1),
      `${id}0`,
      id.toUpperCase().replace(/\d/, 'A'),
      `${id.slice(1)}g`,
      '[object Object]',
      '%00',
      `${id}%00`,
      ` ${id}`,
      `${id}%20`,
      `${id}%0a`,
      '0',
      '-1',
      'null',
      'undefined',
      '{"$ne":""}',
      '{"$gt":""}',
      '[]',
      'id[$ne]=',
      '$ne',
      '..%2f',
      encodeURIComponent('६'.repeat(24)), 'ME', 'Me', '__proto__', 'f'.repeat(5000)
    ]) {
      const { status, body } = await call('GET', `/users/${bad.includes('%') ? bad : encodeURIComponent(bad)}`, {
        token: mine.token
      })
      t.same([status, body], [400, { error: 'Invalid user id' }], JSON.stringify(bad.slice(0, 40)))
      if (!bad.includes('%')) {
        t.equal((await call('HEAD', `/users/${encodeURIComponent(bad)}`, { token: mine.token })).status, 400)
      }
    }
    for (const bad of ['%', '%zz', '%ff']) {
      t.match((await call('GET', `/users/${bad}`, { token: mine.token })).status, 400, bad)
    }
  })

  t.test('no notation shows more than four digits, and a value that is no string is no number', async t => {
    for (const [old, shown] of [
      ['98765 43210', '***** *3210'],
      ['+91 98765-43210', '+** *****-*3210'],
      ['(0) 98-76-54-32-10', '(*) **-**-**-32-10'],
      ['９８７６５４３２１０', '******３２１０'],
      ['98765', '*8765'],
      ['{"$numberLong":"9876543210"}', '{"$numberLong":"******3210"}']
    ] as const) {
      for (const field of ['number', 'old_number']) {
        const _id = new ObjectId()
        await users.insertOne(userRow({ _id, username: freshName(), [field]: old }))
        t.equal((await call('GET', `/users/${_id}`, { token: yours.token })).body.number, shown)
        await users.deleteOne({ _id })
      }
    }
  })

  t.test('a failing database is a 500 with the request id', async t => {
    clock.advance(10)
    await whileFailing('find', async () => {
      for (const path of [`/users/${id}`, '/users/me']) {
        const { status, body, headers } = await call('GET', path, { token: mine.token })
        t.same([status, body.error], [500, 'Internal server error'])
        t.match(body.details, headers.get('x-request-id'))
        t.notMatch(body.details, /mongo|failpoint/i)
      }
    })
  })

  t.test('answers no other method', async t => {
    for (const [method, path] of [
      ['PUT', `/users/${id}`],
      ['POST', `/users/${id}`],
      ['PUT', '/users'],
      ['DELETE', '/users']
    ] as const) {
      const { status, body, headers } = await call(method, path, { token: mine.token })
      t.same([status, body], [405, { error: 'Method not allowed' }], `${method} ${path}`)
      t.equal(headers.get('allow'), path === '/users' ? 'GET, HEAD, POST' : 'GET, HEAD, PATCH')
    }
  })
})

t.test('GET /users/me', async t => {
  t.test('is the caller\'s whole record, once there is a user', async t => {
    const { phone, token } = await service.signIn()
    const before = await call('GET', '/users/me', { token })
    t.same([before.status, before.body], [404, { error: 'User not found' }])
    const username = freshName()
    const { body: { user_id: id } } = await create(token, username, phone)
    const { status, body, headers } = await call('GET', '/users/me', { token })
    t.same(
      [status, body],
      [200, { _id: id, username, number: phone, created_on: clock.now.toISOString(), admin: false }]
    )
    t.equal(headers.get('cache-control'), 'no-store')
  })
})

t.test('Authorization', async t => {
  const { phone, token } = await caller()
  await create(token, freshName(), phone)
  const now = clock.now.getTime() / 1000
  const { _id, sessions: [session] } = (await users.findOne({ number: phone }))!
  const sid = session!.id
  const claims = { sub: _id.toHexString(), sid, iat: now, exp: now + 3600, iss: 'hookaba', aud: 'hookaba' }
  const secret = service.config.JWT_SECRET_KEY!
  const without = (name: keyof typeof claims) => Object.fromEntries(Object.entries(claims).filter(([key]) =>
    key !== name))
  const forged = (payload: unknown, header: object = { alg: 'HS256', typ: 'JWT' }, key = secret, hash = 'sha256') => {
    const text = [header, payload].map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
    return `${text}.${createHmac(hash, key).update(text).digest('base64url')}`
  }
  const unsigned = forged(claims, { alg: 'none', typ: 'JWT' }).replace(/[^.]*$/, '')
  const swapped = (payload: unknown) => [
    token.split('.')[0],
    Buffer.from(JSON.stringify(payload)).toString('base64url'),
    token.split('.')[2]
  ].join(
    '.'
  )

  t.test('a good token from this test is accepted', async t => {
    for (const authorization of [
      `Bearer ${forged(claims)}`,
      `bearer ${forged(claims)}`,
      `Bearer ${token}`,
      `Bearer ${forged({ ...claims, nbf: now - 10, extra: true })}`
    ]) {
      t.equal((await call('GET', '/users/me', { headers: { authorization } })).status, 200)
    }
  })

  const bad: Array<[name: string, authorization: string | undefined]> = [
    ['none', undefined],
    ['Basic', `Basic ${Buffer.from('a:b').toString('base64')}`],
    ['Basic with a token', `Basic ${token}`],
    ['empty', ''],
    ['Bearer without a token', 'Bearer'],
    ['Bearer and a space', 'Bearer '],
    ['no scheme', token],
    ['two tokens', `Bearer ${token} ${token}`],
    ['garbage', 'Bearer x'],
    ['garbage in three parts', 'Bearer a.b.c'],
    ['dots', 'Bearer ...'],
    ['a long one', `Bearer ${'x'.repeat(8000)}`],
    ['no signature', `Bearer ${token.split('.').slice(0, 2).join('.')}.`],
    ['a cut signature', `Bearer ${token.slice(0, -4)}`],
    ['other claims under its signature', `Bearer ${swapped({ ...claims, sub: UNKNOWN_ID })}`],
    ['another account', `Bearer ${forged({ ...claims, sub: UNKNOWN_ID })}`],
    ['a phone number in place of the account', `Bearer ${forged({ ...claims, sub: phone })}`],
    ['another secret', `Bearer ${forged(claims, undefined, 'x'.repeat(32))}`],
    ['an empty secret', `Bearer ${forged(claims, undefined, '')}`],
    ['alg none', `Bearer ${unsigned}`],
    ['alg None', `Bearer ${forged(claims, { alg: 'None' }).replace(/[^.]*$/, '')}`],
    ['HS512', `Bearer ${forged(claims, { alg: 'HS512', typ: 'JWT' }, secret, 'sha512')}`],
    ['no alg', `Bearer ${forged(claims, { typ: 'JWT' })}`],
    ['expired', `Bearer ${forged({ ...claims, iat: now - 7200, exp: now - 3600 })}`],
    ['exp as a string', `Bearer ${forged({ ...claims, exp: String(now + 3600) })}`],
    ['exp null', `Bearer ${forged({ ...claims, exp: null })}`],
    ['exp as an object', `Bearer ${forged({ ...claims, exp: {} })}`],
    ['iat as a string', `Bearer ${forged({ ...claims, iat: String(now) })}`],
    ['nbf in the future', `Bearer ${forged({ ...claims, nbf: now + 3600 })}`],
    ['nbf as a string', `Bearer ${forged({ ...claims, nbf: 'tomorrow' })}`],
    ['iss of another', `Bearer ${forged({ ...claims, iss: 'somebody' })}`],
    ['iss as an array', `Bearer ${forged({ ...claims, iss: ['hookaba'] })}`],
    ['aud of another', `Bearer ${forged({ ...claims, aud: 'somebody' })}`],
    ['aud as an object', `Bearer ${forged({ ...claims, aud: { hookaba: true } })}`],
    ['sub as an object', `Bearer ${forged({ ...claims, sub: { $ne: '' } })}`],
    ['sub as a number', `Bearer ${forged({ ...claims, sub: 919876543210 })}`],
    ['sub as an array', `Bearer ${forged({ ...claims, sub: [phone] })}`],
    ['sub empty', `Bearer ${forged({ ...claims, sub: '' })}`],
    ['sub no number', `Bearer ${forged({ ...claims, sub: 'admin' })}`],
    ...(['sub', 'sid', 'iat', 'exp', 'iss', 'aud'] as const).map((name): [string, string] =>
      [`no ${name}`, `Bearer ${forged(without(name))}`]),
    ...[null, [], [claims], 'x', 1, true].map((payload): [string, string] =>
      [`claims ${JSON.stringify(payload).slice(0, 12)}`, `Bearer ${forged(payload)}`])
  ]
  for (const [name, authorization] of bad) {
    t.test(`401: ${name}`, async t => {
      for (const [method, path] of [
        ['GET', '/users/me'],
        ['GET', `/users/${UNKNOWN_ID}`],
        ['GET', '/users/x'],
        ['POST', '/users']
      ] as const) {
        const { status, body, headers } = await call(method, path, {
          headers: authorization === undefined ? {} : { authorization }
        })
        t.equal(status, 401, `${method} ${path}`)
        t.same(body, { error: authorization === undefined ? 'Missing access token' : body.error })
        t.match(headers.get('www-authenticate'), /^Bearer( error="invalid_token")?$/)
      }
    })
  }

  t.test('a token anywhere else does not count', async t => {
    for (const path of [
      `/users/me?access_token=${token}`, `/users/me?token=${token}`, `/users/me?authorization=Bearer%20${token}`
    ]) {
      t.equal((await call('GET', path)).status, 401)
    }
    for (const [name, value] of [
      ['cookie', `token=${token}; access_token=${token}`],
      ['x-access-token', token],
      ['proxy-authorization', `Bearer ${token}`]
    ] as const) {
      t.equal((await call('GET', '/users/me', { headers: { [name]: value } })).status, 401, name)
    }
    const { status } = await call('POST', '/users', { json: { username: 'x', number: phone, access_token: token } })
    t.equal(status, 401)
  })

  t.test('no token is in the logs', async t => {
    t.notOk(service.logs.some(line => line.includes(token.split('.')[2]!)))
  })
})

async function caller (): Promise<{ phone: string, token: string }> {
  const phone = freshPhone()
  return { phone, token: await service.tokenFor(phone) }
}

function freshName (): string {
  return `name ${names++}`
}

function create (token: string, username: string, number: string): Promise<Reply> {
  return call('POST', '/users', { token, json: { username, number } })
}

function refused (
  t: Test,
  { status, body }: Reply,
  errors: Record<string, string[]>,
  name = 'the fields and their sentences'
): void {
  t.same([status, body], [400, { errors }], name)
}

function many (post: () => Parameters<Burst>[0][number]): Parameters<Burst>[0] {
  return Array.from({ length: 50 }, post)
}

function created (answers: Answer[]): number {
  return answers.filter(({ status, body }) => status === 201 && body.message === 'User created').length
}

function conflicts (answers: Answer[], sentence: { error: string }): number {
  return answers.filter(({ status, body }) =>
    status === 409 && JSON.stringify(body) === JSON.stringify(sentence)).length
}

async function rounds (t: Test, round: () => Promise<number[]>, expected: number[]): Promise<void> {
  const strays: number[][] = []
  for (let i = 0; i < ROUNDS; i++) {
    const seen = await round()
    if (seen.join() !== expected.join()) strays.push(seen)
  }
  t.same(strays, [])
}

function withOption (uri: string, name: string, value: string): string {
  const url = new URL(uri)
  url.searchParams.set(name, value)
  return url.href
}

/** Makes the database fail this command of this file's service while `work` runs. */
async function whileFailing (command: string, work: () => Promise<void>): Promise<void> {
  const admin = app.mongo.client.db('admin')
  await admin.command({
    configureFailPoint: 'failCommand',
    mode: 'alwaysOn',
    data: { failCommands: [command], appName, errorCode: 8000 }
  })
  try {
    await work()
  } finally {
    await admin.command({ configureFailPoint: 'failCommand', mode: 'off' })
  }
}
