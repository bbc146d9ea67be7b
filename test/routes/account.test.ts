import { ObjectId } from 'mongodb'
import t from 'tap'
import {
  auditEvents, claimsOf, createCaller, createUser, findAccount, freshName, freshPhone, requestContextOf
} from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { countIdempotencyKeys, countUploads, findItem } from '../helpers/items.js'
import { type Reply, startService } from '../helpers/service.js'
import { gif } from '../helpers/small-pictures.js'
import { halfAnUpload } from '../helpers/upload-requests.js'
import { eventually } from '../helpers/wait.js'

const USER_NOT_FOUND = { status: 404, body: { error: 'User not found' } }
const INVALID_TOKEN = { status: 401, body: { error: 'Invalid access token' } }

t.setTimeout(1_200_000)
const services = await startServices(t)
const service = await startService(t, { services })
/** Another process on the same database. */
const other = await startService(t, { services, now: () => service.clock.now })
const { app, call, clock } = service
const { users, library } = app.collections

t.test('PATCH /users/me', async t => {
  t.test('PATCH /users/me changes the username and frees the old one', async t => {
    const meera = await createUser(service)
    const name = freshName()
    const { status, body, headers } = await rename(meera, ` ${name.toUpperCase()} `)
    t.strictSame(
      [status, body],
      [
        200,
        {
          _id: meera.id,
          username: name.toUpperCase(),
          number: meera.phone,
          created_on: clock.now.toISOString(),
          admin: false
        }
      ]
    )
    t.equal(headers.get('cache-control'), 'no-store')
    t.match(await findAccount(service, meera), { username: name.toUpperCase(), username_key: name })
    const asha = await createUser(service)
    t.match(await rename(asha, name), { status: 409, body: { error: 'Username already in use' } })
    t.match(await rename(asha, meera.username), { status: 200, body: { username: meera.username } })
    t.match(await rename(meera, name), { status: 200, body: { username: name } }, 'one\'s own name in another form')
    t.match((await rename(meera, name)).status, 200, 'again')
    t.ok((await auditEvents(service, meera.phone)).includes('user.renamed'))
  })

  t.test('PATCH /users/me without a member changes nothing, with or without a body', async t => {
    const meera = await createUser(service)
    const before = await findAccount(service, meera)
    for (const options of [{}, { json: {} }, { headers: { 'content-type': 'application/json' } }]) {
      t.match(await call('PATCH', '/users/me', { token: meera.token, ...options }), {
        status: 200,
        body: { username: meera.username }
      })
    }
    t.same(await findAccount(service, meera), before)
  })

  t.test('PATCH /users/me changes nothing but the username', async t => {
    const meera = await createUser(service)
    const before = await findAccount(service, meera)
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
      merged: [{ username: 'x' }],
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
    t.same(await findAccount(service, meera), before)
  })

  t.test('PATCH /users/me gives a row of the replaced system its unique key', async t => {
    const { phone, token } = await createCaller(service)
    const username = freshName()
    await users.updateOne({ number: phone }, { $set: { username } })
    t.equal((await call('PATCH', '/users/me', { token, json: { username } })).status, 200)
    t.match(await findAccount(service, { phone }), { username, username_key: username })
  })

  t.test('PATCH /users/me answers 400 for an invalid username', async t => {
    const meera = await createUser(service)
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

  t.test('PATCH /users/me answers 404 before there is a user', async t => {
    const { token } = await createCaller(service)
    t.match(await call('PATCH', '/users/me', { token, json: { username: freshName() } }), USER_NOT_FOUND)
    t.match(await call('PATCH', '/users/me', { token }), USER_NOT_FOUND)
  })

  t.test('PATCH /users/me gives a name that twenty accounts want at once to one of them', async t => {
    const people = await Promise.all(Array.from({ length: 20 }, () => createUser(service)))
    const name = freshName()
    const answers = await Promise.all(people.map(someone => rename(someone, name)))
    t.same([200, 409].map(wanted => answers.filter(({ status }) => status === wanted).length), [1, 19])
  })
})

t.test('DELETE /users/me', async t => {
  t.test(
    'DELETE /users/me signs out everywhere, keeps items without an owner, and frees name and number at once',
    async t => {
      const meera = await createUser(service)
      const second = await service.tokenFor(meera.phone)
      const item = (await ok(service.upload(meera.token, gif))).body
      const asha = await createUser(service)
      const hers = (await ok(service.upload(asha.token, gif))).body.id
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

      const row = await findItem(service, item.id)
      t.notOk('owner' in row!)
      t.equal(row?.user_id, 'deleted')
      const listed = (await ok(call('GET', '/library?per_page=100', { token: asha.token }))).body.items.find(
        ({ id }: { id: string }) => id === item.id
      )
      t.same(listed, {
        ...Object.fromEntries(Object.entries(item).filter(([name]) => name !== 'message')),
        user_id: 'deleted',
        owner_id: null
      })
      t.equal((await fetch(item.url)).status, 200)
      t.equal(
        (await ok(call('GET', `/library/${hers}`, { token: asha.token }))).body.owner_id,
        asha.id,
        'an item of another account stays'
      )

      const again = await service.signIn(meera.phone)
      t.match(await call('GET', '/users/me', { token: again.token }), USER_NOT_FOUND)
      const { body } = await ok(call('POST', '/users', {
        token: again.token,
        json: { username: meera.username, number: meera.phone }
      }))
      t.not(body.user_id, meera.id)
      await app.audit.flush()
      t.equal(await app.collections.audit.countDocuments({ event: 'user.deleted', account: new ObjectId(meera.id) }), 1)
      t.match(await app.collections.released_numbers.findOne({ _id: meera.phone }), { until: Date, expires_at: Date })
    }
  )

  t.test('DELETE /users/me works before there is a name', async t => {
    const { phone, token } = await createCaller(service)
    const { body: { id } } = await ok(service.upload(token, gif))
    t.equal((await call('DELETE', '/users/me', { token })).status, 204)
    t.match(await findItem(service, id), { user_id: 'deleted' })
    t.equal(await users.countDocuments({ number: phone }), 0)
  })

  t.test('An upload that is under way when its account is deleted ends without an owner', async t => {
    const meera = await createUser(service)
    const upload = await halfAnUpload(service, meera.token)
    t.equal((await call('DELETE', '/users/me', { token: meera.token })).status, 204)
    const { status, body } = await upload.finish()
    t.match([status, body.user_id, body.owner_id], [201, 'deleted', null])
    const row = await findItem(service, body.id)
    t.notOk('owner' in row!)
    t.equal(row!.user_id, 'deleted')
    t.equal(await countUploads(service), 0)
  })

  t.test(
    'An upload of a deleted account to a process that still knows the session is refused and leaves nothing',
    async t => {
      const meera = await createUser(service)
      t.equal((await other.call('GET', '/users/me', { token: meera.token })).status, 200)
      t.equal((await call('DELETE', '/users/me', { token: meera.token })).status, 204)
      const before = await service.remains()
      t.match(await other.upload(meera.token, gif), INVALID_TOKEN)
      t.same(await eventually(async () => await countUploads(service) === 0 && service.remains()), before)
    }
  )

  t.test('DELETE /users/me removes the Idempotency-Keys of the account', async t => {
    const meera = await createUser(service)
    const once = { headers: { 'idempotency-key': 'once' }, json: { username: meera.username, number: meera.phone } }
    t.equal((await call('POST', '/users', { token: meera.token, ...once })).status, 201)
    t.equal(await countIdempotencyKeys(service, meera.id), 1)
    t.equal((await call('DELETE', '/users/me', { token: meera.token })).status, 204)
    t.equal(await countIdempotencyKeys(service, meera.id), 0)
  })

  t.test('A sweep finishes a deletion that stopped after any of its writes', async t => {
    for (const writes of [1, 2]) {
      const meera = await createUser(service)
      const { body: { id } } = await ok(service.upload(meera.token, gif))
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
      t.equal((await findItem(service, id))?.user_id, writes === 1 ? 'meera' : 'deleted')
    }
  })
})

t.test('A change at one instance shows at another at once', async t => {
  const { phone, token } = await service.signIn()
  t.equal((await other.call('GET', '/library', { token })).status, 200)
  const { id } = await createUser(service, { phone, token })
  t.match(await other.call('GET', '/users/me', { token }), { status: 200, body: { _id: id } })
  const second = await service.signIn(phone)
  t.same(
    (await ok(other.call('GET', '/auth/sessions', { token }))).body.sessions.map(({ id }: { id: string }) => id).sort(),
    [token, second.token].map(one => claimsOf(one).sid).sort()
  )
})

t.test(
  'POST /auth/logout with scope all answers 401 to a session that has ended meanwhile, and ends nothing',
  async t => {
    const phone = freshPhone()
    const [first, second] = [
      (await app.sessions.open(phone, requestContextOf(app)))!,
      (await app.sessions.open(phone, requestContextOf(app)))!
    ]
    await t.rejects(app.sessions.logOut('all', first, requestContextOf(app)), { message: 'Invalid access token' })
    t.equal((await call('GET', '/auth/sessions', { token: app.issueToken(second).token })).status, 200)
  }
)

function rename ({ token }: { token: string }, username: unknown): Promise<Reply> {
  return call('PATCH', '/users/me', { token, json: { username } })
}
