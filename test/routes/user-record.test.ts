import { ObjectId } from 'mongodb'
import t from 'tap'
import { accountOf, createCaller, freshName, insertAccount } from '../helpers/accounts.js'
import { answerOf, failureOf, ok } from '../helpers/answers.js'
import { startServices, withUriOption } from '../helpers/backends.js'
import { failCommands } from '../helpers/fail-commands.js'
import { type Reply, startService } from '../helpers/service.js'

const CREATED_ON = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const NUMBER_TAKEN = { status: 409, body: { error: 'Phone number already in use' } }
const UNKNOWN_ID = '665f1c2ab7e4d90012ab34cd'

const appName = `users-${Math.random().toString(36).slice(2)}`
const services = await startServices(t)
const service = await startService(t, {
  services,
  env: { MONGO_URI: withUriOption(services.mongoUri, 'appName', appName) }
})
const { app, call, clock } = service
const { users } = app.collections

t.test('GET /users/{id}', async t => {
  const mine = await createCaller(service)
  const yours = await createCaller(service)
  const name = freshName()
  const { body: { user_id: id } } = await ok(create(mine.token, name, mine.phone))

  t.test('The owner sees the whole number, others its last four digits', async t => {
    const own = await call('GET', `/users/${id}`, { token: mine.token })
    t.equal(own.status, 200)
    t.same(own.body, { _id: id, username: name, number: mine.phone, created_on: clock.now.toISOString() })
    t.match(own.body.created_on, CREATED_ON)
    t.equal(own.headers.get('cache-control'), 'no-store')
    const other = await ok(call('GET', `/users/${id}`, { token: yours.token }))
    t.same(other.body, { ...own.body, number: `+********${mine.phone.slice(-4)}` })
    const nobody = await call('GET', `/users/${id}`)
    t.same([nobody.status, nobody.body], [401, { error: 'Missing access token' }])
  })

  t.test('GET /users/{id} answers 404 for an unknown user', async t => {
    const { status, body, headers } = await call('GET', `/users/${UNKNOWN_ID}`, { token: mine.token })
    t.same([status, body], [404, { error: 'User not found' }])
    t.equal(headers.get('cache-control'), 'no-store')
  })

  t.test('GET /users/{id} answers 400 for an invalid id', async t => {
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

  t.test('No notation shows more than four digits, and a value that is no string is no number', async t => {
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
        await insertAccount(service, { _id, username: freshName(), [field]: old })
        t.equal((await ok(call('GET', `/users/${_id}`, { token: yours.token }))).body.number, shown)
        await users.deleteOne({ _id })
      }
    }
  })

  t.test('GET /users/{id} answers 500 with the request id while the database fails', async t => {
    clock.advance(10)
    const heal = await failCommands(services.mongoUri, { commands: ['find'], appName, errorCode: 8000 })
    const answers = [
      await call('GET', `/users/${id}`, { token: mine.token }),
      await call('GET', '/users/me', { token: mine.token })
    ]
    await heal()
    for (const answer of answers) t.equal(failureOf(answer), 'Internal server error')
  })

  t.test('/users/{id} answers no other method', async t => {
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
  t.test('GET /users/me is the caller\'s whole record, once there is a user', async t => {
    const { phone, token } = await service.signIn()
    const before = await call('GET', '/users/me', { token })
    t.same([before.status, before.body], [404, { error: 'User not found' }])
    const username = freshName()
    const { body: { user_id: id } } = await ok(create(token, username, phone))
    const { status, body, headers } = await call('GET', '/users/me', { token })
    t.same(
      [status, body],
      [200, { _id: id, username, number: phone, created_on: clock.now.toISOString(), admin: false }]
    )
    t.equal(headers.get('cache-control'), 'no-store')
  })
})

t.test('A row of the replaced system is found by its name, however it is written', async t => {
  const { phone, token } = await createCaller(service)
  const _id = await accountOf(app, phone)
  await users.updateOne({ _id }, { $set: { username: `Old\u0007 ${freshName()}` } })
  const other = await create(token, freshName(), phone)
  t.same(answerOf(other), NUMBER_TAKEN)
  await users.updateOne({ _id }, { $set: { username: 'Meera Legacy' } })
  t.same(
    (await ok(create(token, 'meera legacy', phone))).body,
    { message: 'User created', user_id: _id.toHexString() }
  )
})

t.test('Every request for users answers 401 without a good token, before anything else is judged', async t => {
  for (const [method, path] of [
    ['GET', '/users/me'],
    ['GET', `/users/${UNKNOWN_ID}`],
    ['GET', '/users/x'],
    ['POST', '/users']
  ] as const) {
    t.match(await call(method, path), { status: 401, body: { error: 'Missing access token' } }, path)
    t.match(await call(method, path, { token: 'x' }), { status: 401, body: { error: 'Invalid access token' } }, path)
  }
})

function create (token: string, username: string, number: string): Promise<Reply> {
  return call('POST', '/users', { token, json: { username, number } })
}
