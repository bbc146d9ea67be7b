import { isDeepStrictEqual } from 'node:util'
import { ObjectId } from 'mongodb'
import t from 'tap'
import { accountOf, createCaller, findAccount, freshName, freshPhone } from '../helpers/accounts.js'
import { answerOf, ok, refusal } from '../helpers/answers.js'
import { startServices, withUriOption } from '../helpers/backends.js'
import { failCommands } from '../helpers/fail-commands.js'
import { type Answer, type Burst, burstOf } from '../helpers/pipelined-posts.js'
import { mongoProxy } from '../helpers/tcp-proxy.js'
import { type Reply, startService } from '../helpers/service.js'
import { scale } from '../helpers/test-length.js'

/** Independent servers may be slow: fewer rounds there. */
const ROUNDS = scale({ short: 2, long: 1000 })
const NUMBER_TAKEN = { status: 409, body: { error: 'Phone number already in use' } }
const USERNAME_TAKEN = { status: 409, body: { error: 'Username already in use' } }
const FOREIGN = { status: 403, body: { error: 'Phone number is not your own' } }

t.setTimeout(scale({ short: 1_800_000, long: 14_400_000 }))
t.comment(`${ROUNDS} rounds of each race`)
const appName = `users-${Math.random().toString(36).slice(2)}`
const services = await startServices(t)
const service = await startService(t, {
  services,
  env: { MONGO_URI: withUriOption(services.mongoUri, 'appName', appName) }
})
const { app, call, clock } = service
const { users } = app.collections
const burst = burstOf(t, service)

t.test('POST /users', async t => {
  t.test('POST /users creates the caller\'s user', async t => {
    const { phone, token } = await service.signIn()
    const username = freshName()
    const { status, body, headers } = await create(token, username, phone)
    t.equal(status, 201)
    t.same(body, { message: 'User created', user_id: body.user_id })
    t.match(body.user_id, /^[0-9a-f]{24}$/)
    t.equal(headers.get('cache-control'), 'no-store')
    t.match(await findAccount(service, { phone }), {
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

  t.test('The same username and number again are the same user, in any notation', async t => {
    const { phone, token } = await createCaller(service)
    const username = `Amélie ${freshName()}`
    const first = await ok(create(token, username, phone))
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
    t.equal((await findAccount(service, { phone }))?.username, username, 'the shown name stays')
  })

  t.test('POST /users ends no session of the account', async t => {
    const { phone, token } = await createCaller(service)
    clock.advance(20 * 24 * 3600)
    t.equal((await create(token, freshName(), phone)).status, 201)
    const tablet = await service.tokenFor(phone)
    for (const one of [token, tablet]) t.equal((await call('GET', '/users/me', { token: one })).status, 200)
  })

  t.test('POST /users finds the stored pair before it judges the name', async t => {
    const { phone, token } = await createCaller(service)
    const _id = await accountOf(app, phone)
    for (const username of ['x'.repeat(80), 'a\u0007b', 'a\u202eb', '']) {
      await users.updateOne({ _id }, { $set: { username } })
      t.same(
        (await ok(create(token, username, phone))).body,
        { message: 'User created', user_id: _id.toHexString() },
        JSON.stringify(username)
      )
      t.match((await create(token, `${'y'.repeat(80)}`, phone)).status, 400, 'another name is judged')
      t.same(answerOf(await create(token, freshName(), phone)), NUMBER_TAKEN)
    }
    const yours = await createCaller(service)
    t.strictSame(
      answerOf(await create(yours.token, 'x'.repeat(80), phone)),
      refusal({ username: ['Length must be between 1 and 64.'] })
    )
    await users.updateOne({ _id }, { $set: { username: 'Findable', username_key: 'findable' } })
    const foreign = await create(yours.token, 'findable', phone)
    t.same(answerOf(foreign), USERNAME_TAKEN, 'another\'s pair is judged as a foreign number')
  })

  t.test('Another username for the caller\'s number, or a taken one, is a conflict', async t => {
    const [mine, yours] = await Promise.all([createCaller(service), createCaller(service)])
    const [myName, yourName] = [freshName(), freshName()]
    await ok(create(mine.token, myName, mine.phone))
    const both = await create(mine.token, freshName(), mine.phone)
    t.same(answerOf(both), NUMBER_TAKEN)
    const taken = await create(yours.token, myName.toUpperCase(), yours.phone)
    t.same(answerOf(taken), USERNAME_TAKEN)
    await ok(create(yours.token, yourName, yours.phone))
    const twice = await create(mine.token, yourName, mine.phone)
    t.same(answerOf(twice), NUMBER_TAKEN, 'the number is judged before the username')
  })

  t.test('A foreign number tells nothing but whether the username is taken', async t => {
    const [mine, yours] = await Promise.all([createCaller(service), createCaller(service)])
    const name = freshName()
    await ok(create(yours.token, name, yours.phone))
    for (const [what, number] of [['registered', yours.phone], ['unregistered', freshPhone()]] as const) {
      const free = await create(mine.token, freshName(), number)
      t.same(answerOf(free), FOREIGN, what)
      const taken = await create(mine.token, name, number)
      t.same(answerOf(taken), USERNAME_TAKEN, what)
    }
    t.equal(await users.countDocuments({ number: mine.phone, username: { $exists: true } }), 0)
  })

  t.test('A bad request is named before anything else', async t => {
    const { token } = await createCaller(service)
    const yours = await createCaller(service)
    const name = freshName()
    await ok(create(yours.token, name, yours.phone))
    t.strictSame(answerOf(await create(token, name, 'x')), refusal({ number: ['Not a valid phone number.'] }))
    t.strictSame(
      answerOf(await create(token, '', yours.phone)),
      refusal({ username: ['Length must be between 1 and 64.'] })
    )
    t.strictSame(answerOf(await call('POST', '/users', { token, json: { username: name } })), refusal({
      number: ['Missing data for required field.']
    }))
  })

  t.test('Any number will do where USERS_REQUIRE_OWN_NUMBER is off', async t => {
    const { call, tokenFor } = await startService(t, { services, env: { USERS_REQUIRE_OWN_NUMBER: 'false' } })
    const token = await tokenFor(freshPhone())
    const [username, number] = [freshName(), freshPhone()]
    const ask = (username: string, number: string) => call('POST', '/users', { token, json: { username, number } })
    const first = await ask(username, number)
    t.equal(first.status, 201)
    t.same((await ok(ask(username, number))).body, first.body)
    t.same(answerOf(await ask(freshName(), number)), NUMBER_TAKEN)
    t.same(answerOf(await ask(username, freshPhone())), USERNAME_TAKEN)
  })

  t.test('POST /users names every missing member, and makes no string of another type', async t => {
    const { phone, token } = await createCaller(service)
    const valid = { username: freshName(), number: phone }
    const missing = ['Missing data for required field.']
    t.strictSame(
      answerOf(await call('POST', '/users', { token, json: {} })),
      refusal({ username: missing, number: missing })
    )
    for (const name of ['username', 'number']) {
      t.strictSame(
        answerOf(await call('POST', '/users', { token, json: { ...valid, [name]: undefined } })),
        refusal({ [name]: missing })
      )
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
        t.strictSame(
          answerOf(await call('POST', '/users', { token, json: { ...valid, [name]: value } })),
          refusal({ [name]: ['Not a valid string.'] }),
          `${name}: ${JSON.stringify(value)}`
        )
      }
    }
    t.strictSame(answerOf(await call('POST', '/users', { token, json: { username: 1, number: null } })), refusal({
      username: ['Not a valid string.'],
      number: ['Not a valid string.']
    }))
  })

  t.test('POST /users refuses invalid names and numbers', async t => {
    const { phone, token } = await createCaller(service)
    for (const username of ['', ' \t', 'x'.repeat(65), '😀'.repeat(65), 'x'.repeat(10_000)]) {
      t.strictSame(
        answerOf(await create(token, username, phone)),
        refusal({ username: ['Length must be between 1 and 64.'] })
      )
    }
    for (const username of ['a\0b', 'a\nb', 'a\u202eb', 'a\u2066b', '\u200b', '\u00ad']) {
      t.strictSame(answerOf(await create(token, username, phone)), refusal({ username: ['Not a valid value.'] }))
    }
    for (const number of ['', 'x', '12', 'tel:+919876543210', `${phone}x1`, `${phone}\0`, '1234567890123456']) {
      t.strictSame(
        answerOf(await create(token, freshName(), number)),
        refusal({ number: ['Not a valid phone number.'] })
      )
    }
    t.equal(await users.countDocuments({ number: phone, username: { $exists: true } }), 0)
    const { status, body } = await create(token, ` ${'😀'.repeat(64)} `, phone)
    t.equal(status, 201)
    t.equal((await findAccount(service, { id: body.user_id }))?.username, '😀'.repeat(64))
  })

  t.test('POST /users refuses lone surrogates: the database would make one name of them', async t => {
    const { phone, token } = await createCaller(service)
    const other = await createCaller(service)
    for (const surrogate of [
      '\\ud800', '\\udbff', '\\udc00', '\\udfff', 'a\\ud800b', '\\udc00\\ud800', '\\ud83d\\ud83d\\ude00'
    ]) {
      const post = (username: string, number: string) => call('POST', '/users', {
        token,
        body: `{"username":"${username}","number":"${number}"}`,
        headers: { 'content-type': 'application/json' }
      })
      t.strictSame(answerOf(await post(surrogate, phone)), refusal({ username: ['Not a valid value.'] }), surrogate)
      t.strictSame(
        answerOf(await post(surrogate, other.phone)),
        refusal({ username: ['Not a valid value.'] }),
        surrogate
      )
      t.strictSame(
        answerOf(await post('x', `${phone}${surrogate}`)),
        refusal({ number: ['Not a valid phone number.'] }),
        surrogate
      )
    }
    t.equal(await users.countDocuments({ number: phone, username: { $exists: true } }), 0)
  })

  t.test('Names that look the same are one name', async t => {
    const name = `straße ${freshName()}`
    const mine = await createCaller(service)
    await ok(create(mine.token, name, mine.phone))
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
      const other = await createCaller(service)
      t.same(answerOf(await create(other.token, same, other.phone)), USERNAME_TAKEN, JSON.stringify(same))
    }
    const accented = `Zoë ${freshName()}`
    const zoe = await createCaller(service)
    await ok(create(zoe.token, accented.normalize('NFD'), zoe.phone))
    // the last with a Cyrillic letter
    for (const [same, status] of [
      [accented.normalize('NFC'), 409],
      [accented.normalize('NFD').toUpperCase(), 409],
      [accented.replace('ë', 'e'), 201],
      [accented.replace('o', 'о'), 201]
    ] as const) {
      const other = await createCaller(service)
      t.equal((await create(other.token, same, other.phone)).status, status, JSON.stringify(same))
    }
  })

  t.test('POST /users makes no caller an admin', async t => {
    for (const member of [
      '"admin":true',
      '"admin":false',
      '"blocked":true,"moved":{},"merged":[{"username":"x"}]',
      '"Admin":true,"prototype":{"admin":true}',
      '"role":"admin","_id":"665f1c2ab7e4d90012ab34cd"'
    ]) {
      const { phone, token } = await createCaller(service)
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
      t.match(await call('GET', '/users/me', { token }), { status: 200, body: { admin: false, _id: id } })
    }
    const { phone, token } = await createCaller(service)
    for (const value of ['"true"', '1', 'null', '{"$ne":false}']) {
      const { status, body } = await call('POST', '/users', {
        token,
        body: `{"username":"x","number":"${phone}","admin":${value}}`,
        headers: { 'content-type': 'application/json' }
      })
      t.same([status, body], [400, { errors: { admin: ['Not a valid boolean.'] } }], value)
    }
    for (const member of ['"__proto__":{"admin":true}', '"constructor":{"prototype":{"admin":true}}']) {
      const { phone, token } = await createCaller(service)
      const { status } = await call('POST', '/users', {
        token,
        body: `{"username":"${freshName()}","number":"${phone}",${member}}`,
        headers: { 'content-type': 'application/json' }
      })
      t.equal(status, 201, member)
      t.match(await call('GET', '/users/me', { token }), { status: 200, body: { admin: false } })
    }
    t.notOk('admin' in {}, 'nor any object')
  })

  t.test('The name of an older user of the same number is found, however it is written', async t => {
    const { phone, token } = await service.signIn()
    const created = await call('POST', '/users', { token, json: { username: `kept ${phone}`, number: phone } })
    t.equal(created.status, 201)
    const id = new ObjectId(created.body.user_id as string)
    const merged = { id: new ObjectId(), username: `Merged ${phone}`, number: phone, created_on: new Date(0) }
    await service.app.collections.users.updateOne({ _id: id }, { $set: { merged: [merged] } })
    t.match(await call('POST', '/users', { token, json: { username: `MERGED ${phone}`, number: phone } }), {
      status: 201,
      body: { message: 'User created', user_id: created.body.user_id }
    })
    t.equal((await call('POST', '/users', { token, json: { username: `other ${phone}`, number: phone } })).status, 409)
  })

  t.test('POST /users wants a JSON object', async t => {
    const { token } = await createCaller(service)
    const headers = { 'content-type': 'application/json' }
    for (const body of ['', '[]', '"x"', '1', 'null', '{']) {
      t.strictSame(
        answerOf(await call('POST', '/users', { token, body, headers })),
        refusal({ _schema: ['Invalid input.'] }),
        JSON.stringify(body)
      )
    }
    t.strictSame(answerOf(await call('POST', '/users', { token })), refusal({ _schema: ['Invalid input.'] }), 'no body')
    for (const type of ['text/plain', 'multipart/form-data; boundary=x', 'application/x-www-form-urlencoded']) {
      const { status, body } = await call('POST', '/users', { token, body: '{}', headers: { 'content-type': type } })
      t.same([status, body], [415, { error: 'Unsupported media type' }], type)
    }
    const { status, body } = await call('POST', '/users', { token, json: { padding: 'x'.repeat(16 * 1024) } })
    t.same([status, body], [413, { error: 'Request body is larger than 16384 bytes' }])
  })

  t.test('POST /users answers 500 while the database fails, and gives nothing away', async t => {
    const { phone, token } = await createCaller(service)
    const name = freshName()
    for (const command of ['findAndModify', 'find']) {
      const heal = await failCommands(services.mongoUri, { commands: [command], appName, errorCode: 8000 })
      const { status, body, text } = await create(token, name, phone)
      await heal()
      t.same([status, body], [500, { error: 'User creation failed' }], command)
      t.notMatch(text, /mongo|failpoint/i)
    }
    t.equal(await users.countDocuments({ number: phone, username: { $exists: true } }), 0)
    t.notOk(
      service.logs.some(line => JSON.parse(line).level >= 50 && line.includes(phone.slice(3))),
      'no whole number in the logs'
    )
    t.equal((await create(token, name, phone)).status, 201, 'all is well again')
  })

  t.test('A caller whose connection was cut finds the new user on another try', async t => {
    const wire = await mongoProxy(services.mongoUri)
    t.teardown(wire.close)
    const apart = await startService(t, {
      services: { ...services, mongoUri: `${wire.uri}&retryWrites=false` },
      now: () => clock.now
    })
    let lost = 0
    for (let bytes = 20; bytes <= 2000; bytes += scale({ short: 180, long: 20 })) {
      const { phone, token } = await createCaller(service)
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
          { message: 'User created', user_id: (made ?? await findAccount(service, { phone }))?._id.toHexString() }
        ],
        `cut after ${bytes} bytes`
      )
      t.equal(await users.countDocuments({ number: phone }), 1)
    }
    t.ok(lost > 0, `${lost} answers were lost after the fact`)
  })

  t.test('50 usernames for one own number at once get one 201 and 49 conflicts', async t => {
    t.same(await strays(async () => {
      const { phone, token } = await createCaller(service)
      const answers = await burst(many(() => ({
        path: '/users',
        token,
        json: { username: freshName(), number: phone }
      })))
      return {
        created: created(answers),
        conflicts: conflicts(answers, NUMBER_TAKEN),
        rows: await users.countDocuments({ number: phone })
      }
    }, { created: 1, conflicts: 49, rows: 1 }), [])
  })

  t.test('One username from 50 owners at once gets one 201 and 49 conflicts', async t => {
    t.same(await strays(async () => {
      const username = freshName()
      const owners = await Promise.all(Array.from({ length: 50 }, () => createCaller(service)))
      const answers = await burst(owners.map(({ phone, token }) => ({
        path: '/users',
        token,
        json: { username, number: phone }
      })))
      return {
        created: created(answers),
        conflicts: conflicts(answers, USERNAME_TAKEN),
        rows: await users.countDocuments({ username_key: username })
      }
    }, { created: 1, conflicts: 49, rows: 1 }), [])
  })

  t.test('The same pair 50 times at once gets 201 with one id', async t => {
    t.same(await strays(async () => {
      const { phone, token } = await createCaller(service)
      const username = freshName()
      const answers = await burst(many(() => ({ path: '/users', token, json: { username, number: phone } })))
      return {
        created: created(answers),
        ids: new Set(answers.map(({ body }) => body.user_id)).size,
        rows: await users.countDocuments({ number: phone })
      }
    }, { created: 50, ids: 1, rows: 1 }), [])
  })
})

function create (token: string, username: string, number: string): Promise<Reply> {
  return call('POST', '/users', { token, json: { username, number } })
}

function many (post: () => Parameters<Burst>[0][number]): Parameters<Burst>[0] {
  return Array.from({ length: 50 }, post)
}

function created (answers: Answer[]): number {
  return answers.filter(({ status, body }) => status === 201 && body.message === 'User created').length
}

function conflicts (answers: Answer[], refusal: { status: number, body: { error: string } }): number {
  return answers.filter(answer => JSON.stringify(answerOf(answer)) === JSON.stringify(refusal)).length
}

/** What rounds showed that did not show what was expected. */
async function strays <Seen> (round: () => Promise<Seen>, expected: Seen): Promise<Seen[]> {
  const found: Seen[] = []
  for (let i = 0; i < ROUNDS; i++) {
    const seen = await round()
    if (!isDeepStrictEqual(seen, expected)) found.push(seen)
  }
  return found
}
