import t from 'tap'
import {
  auditOf, createUser, findAccount, freshName, freshPhone, insertAccount, insertRows, makeAdmin, setBlocked, userRow
} from '../helpers/accounts.js'
import { answerOf, ok } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { type Reply, startService } from '../helpers/service.js'

const ADMINS_ONLY = { status: 403, body: { error: 'Only an admin may do that' } }
const UNKNOWN_ID = '665f1c2ab7e4d90012ab34cd'
const TEST_NUMBER = '+919999900000'

const chief = freshPhone()
const early = freshPhone()
const services = await startServices(t)
const env = { ADMIN_NUMBERS: `${chief.slice(3)}, ${early}`, OTP_TEST_NUMBERS: `${TEST_NUMBER}:123456` }
const service = await startService(t, { services, env })
const { app, call, clock } = service
const { users } = app.collections

const admin = await createUser(service, { username: 'zz chief', phone: chief })
const chiefId = admin.id

t.test('ADMIN_NUMBERS', async t => {
  t.test('ADMIN_NUMBERS makes the user with the number an admin when the user is made', async t => {
    t.match(await call('GET', '/users/me', { token: admin.token }), { status: 200, body: { admin: true } })
  })

  t.test('ADMIN_NUMBERS makes existing users admins at every start', async t => {
    await insertAccount(service, { username: freshName(), number: early })
    const next = await startService(t, { services, env, now: () => clock.now })
    t.match(await findAccount(service, { phone: early }), { admin: true })
    t.match(
      (await auditOf(next.app, early)).filter(({ event }) => event === 'user.rights_changed'),
      [{ details: { by: 'ADMIN_NUMBERS', admin: true } }]
    )
    t.ok(next.logs.some(line => line.includes('"user.rights_changed"')))
    await users.deleteOne({ number: early })
  })

  t.test('The log warns when a number of ADMIN_NUMBERS loses its user', async t => {
    const warnings = () => service.logs.filter(line => line.includes('"admin.number_freed"')).length
    for (const lose of [(token: string) => call('DELETE', '/users/me', { token }), moveAway]) {
      const before = warnings()
      const { token } = await createUser(service, { phone: early })
      t.ok((await lose(token)).status < 300)
      t.equal(warnings(), before + 1)
    }
    const meera = await createUser(service)
    await ok(call('DELETE', '/users/me', { token: meera.token }))
    t.equal(warnings(), 2)
  })

  t.test('A user with a test number is no admin, whatever the database says', async t => {
    const { token } = await createUser(service, { phone: TEST_NUMBER })
    await makeAdmin(service, TEST_NUMBER)
    t.match(await call('GET', '/users', { token }), ADMINS_ONLY)
    await users.deleteOne({ number: TEST_NUMBER })
  })
})

t.test('GET /users', async t => {
  const list = (query = '', token = admin.token) => call('GET', `/users${query}`, { token })
  const names = ({ status, body, text }: Reply) => {
    if (status !== 200) throw new Error(`list of users: ${status} ${text}`)
    return body.users.map(({ username }: { username: string }) => username)
  }

  t.test('GET /users lists all users in the order of ids, a page at a time', async t => {
    for (let i = 0; i < 5; i++) await createUser(service)
    const everybody = (await users.find({ username: { $exists: true } }).sort({ _id: 1 }).toArray()).map(({ _id }) =>
      _id.toHexString())
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const { status, body, headers }: Reply = await list(`?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)
      t.match([status, headers.get('cache-control')], [200, 'no-store'])
      t.ok(body.users.length === 2 || body.next_cursor === null)
      for (const user of body.users) seen.push(user._id)
      cursor = body.next_cursor
    }
    t.same(seen, everybody)
    t.same((await ok(list())).body.users.map(({ _id }: { _id: string }) => _id), everybody)
  })

  t.test('GET /users shows whole numbers and the facts that only admins may know', async t => {
    const meera = await createUser(service)
    await setBlocked(service, meera.phone, true)
    const { body } = await ok(list(`?number=${meera.phone.slice(3)}`))
    t.strictSame(body, {
      users: [
        {
          _id: meera.id,
          username: meera.username,
          number: meera.phone,
          created_on: clock.now.toISOString(),
          admin: false,
          blocked: true
        }
      ],
      next_cursor: null
    })
  })

  t.test(
    'GET /users finds a number in any notation, and a name by its beginning, whatever its case and form',
    async t => {
      const meera = await createUser(service, { username: 'Straße (élan)' })
      await createUser(service, { username: 'Strassburg' })
      await createUser(service, { username: 'xStrasse' })
      for (const number of [
        meera.phone,
        meera.phone.slice(3),
        `0${meera.phone.slice(3)}`,
        `0091 ${meera.phone.slice(3)}`
      ]) {
        t.same(names(await list(`?number=${encodeURIComponent(number)}`)), ['Straße (élan)'], number)
      }
      t.same(names(await list(`?number=${encodeURIComponent(freshPhone())}`)), [])
      for (const [prefix, expected] of [
        ['strass', ['Straße (élan)', 'Strassburg']],
        ['STRAẞE', ['Straße (élan)']],
        ['straße (é', ['Straße (élan)']],
        ['straße (e\u0301', ['Straße (élan)']],
        ['ｓｔｒａｓｓｂ', ['Strassburg']],
        ['trass', []],
        ['.*', []],
        ['^str', []],
        ['straß.', []],
        ['(', []],
        ['$', []],
        ['\\', []]
      ] as const) {
        t.same(names(await list(`?username=${encodeURIComponent(prefix)}`)), expected, prefix)
      }
      t.equal(names(await list('?username=')).length, names(await list()).length)
      const { body: { next_cursor: next } } = await ok(list('?username=stra&limit=1'))
      t.same(names(await list(`?username=stra&limit=1&cursor=${next}`)), ['Strassburg'])
    }
  )

  t.test('GET /users serves at most 100', async t => {
    await insertRows(users, Array.from({ length: 101 }, () => userRow({ username: freshName() })))
    t.same(
      [await list(), await list('?limit=100'), await list('?limit=101'), await list('?limit=999999999')].map(
        answer => names(answer).length
      ),
      [50, 100, 100, 100]
    )
  })

  t.test('GET /users refuses every other query', async t => {
    const integer = { limit: ['Not a valid integer.'] }
    const value = (name: string) => ({ [name]: ['Not a valid value.'] })
    const string = (name: string) => ({ [name]: ['Not a valid string.'] })
    for (const { query, errors } of [
      { query: 'limit=0', errors: value('limit') },
      { query: 'limit=-1', errors: value('limit') },
      { query: 'limit=1.5', errors: integer },
      { query: 'limit=x', errors: integer },
      { query: 'limit=', errors: integer },
      { query: 'limit=1&limit=2', errors: integer },
      { query: 'limit[$gt]=1', errors: integer },
      { query: 'limit=1000000000', errors: value('limit') },
      { query: 'cursor=', errors: value('cursor') },
      { query: 'cursor=x', errors: value('cursor') },
      { query: `cursor=${UNKNOWN_ID}`, errors: value('cursor') },
      { query: 'cursor=%00', errors: value('cursor') },
      { query: 'cursor=AAAAAAAAAAAAAAA%3D', errors: value('cursor') },
      ...['cursor', 'username', 'number'].flatMap(name =>
        [`${name}=a&${name}=b`, `${name}[$gt]=`, `${name}[]=x`, `${name}[$regex]=.*`].map(query =>
          ({ query, errors: string(name) }))),
      { query: 'number=', errors: { number: ['Not a valid phone number.'] } },
      { query: 'number=x', errors: { number: ['Not a valid phone number.'] } },
      { query: 'number=%7B%22%24ne%22%3Anull%7D', errors: { number: ['Not a valid phone number.'] } }
    ]) {
      t.match(await list(`?${query}`), { status: 400, body: { errors } }, query)
    }
  })

  t.test('GET /users is for admins alone, whatever the query', async t => {
    const meera = await createUser(service)
    for (const query of ['', '?limit=0', '?cursor=x', `?number=${encodeURIComponent(meera.phone)}`]) {
      t.match(await list(query, meera.token), ADMINS_ONLY)
    }
    t.match(await list('', await service.tokenFor(freshPhone())), ADMINS_ONLY)
    t.match(await call('GET', '/users'), { status: 401 })
    t.ok((await auditOf(app, meera.phone)).some(({ event, details }) =>
      event === 'access.denied' && details.reason === 'not an admin'))
  })
})

t.test('POST /users by an admin', async t => {
  const create = (json: object, token = admin.token) => call('POST', '/users', { token, json })

  t.test('POST /users takes any number, and `admin`, from an admin', async t => {
    for (const [sent, stored] of [[{}, false], [{ admin: false }, false], [{ admin: true }, true]] as const) {
      const [username, number] = [freshName(), freshPhone()]
      const { status, body } = await create({ username, number, ...sent })
      t.equal(status, 201)
      t.match(await findAccount(service, { id: body.user_id }), { username, number, admin: stored })
      t.same(
        answerOf(await create({ username, number, admin: !stored })),
        { status: 201, body },
        'again, and nothing changes'
      )
      t.match(await findAccount(service, { phone: number }), { admin: stored })
      t.match(await create({ username: freshName(), number }), {
        status: 409,
        body: { error: 'Phone number already in use' }
      })
      t.match(await create({ username, number: freshPhone() }), {
        status: 409,
        body: { error: 'Username already in use' }
      })
      t.ok((await auditOf(app, number)).some(({ event, details }) =>
        event === 'user.created' && details.by === chiefId))
    }
  })

  t.test('POST /users answers 400 when `admin` is no JSON boolean, and for a test number', async t => {
    for (const admin of [null, 'true', 1, [], {}, { $ne: null }]) {
      t.match(
        await create({ username: freshName(), number: freshPhone(), admin }),
        { status: 400, body: { errors: { admin: ['Not a valid boolean.'] } } },
        JSON.stringify(admin)
      )
    }
    t.match(await create({ username: freshName(), number: TEST_NUMBER, admin: true }), {
      status: 400,
      body: { errors: { admin: ['Not a valid value.'] } }
    })
  })

  t.test('POST /users ignores `admin` from any other caller', async t => {
    const meera = await createUser(service)
    const number = freshPhone()
    t.match(await create({ username: freshName(), number, admin: true }, meera.token), {
      status: 403,
      body: { error: 'Phone number is not your own' }
    })
    t.match(await create({ username: meera.username, number: meera.phone, admin: true }, meera.token), {
      status: 201,
      body: { user_id: meera.id }
    })
    t.match(
      [await users.countDocuments({ number }), await findAccount(service, meera)],
      [0, { admin: false }]
    )
  })
})

t.test('GET /users/{id} by an admin has the whole number', async t => {
  const [meera, asha] = [await createUser(service), await createUser(service)]
  t.strictSame((await ok(call('GET', `/users/${meera.id}`, { token: admin.token }))).body, {
    _id: meera.id,
    username: meera.username,
    number: meera.phone,
    created_on: clock.now.toISOString()
  })
  t.equal(
    (await ok(call('GET', `/users/${meera.id}`, { token: asha.token }))).body.number,
    `+********${meera.phone.slice(-4)}`
  )
})

t.test('No audit row holds a whole number', async t => {
  await createUser(service)
  await app.audit.flush()
  const rows = await app.collections.audit.find().toArray()
  t.ok(rows.some(({ event }) => event === 'user.created'))
  t.notMatch(JSON.stringify(rows), /\+\d{8}/)
})

async function moveAway (token: string): Promise<Reply> {
  const number = freshPhone()
  await ok(call('POST', '/users/me/number', { token, json: { number } }))
  return call('POST', '/users/me/number/verify', { token, json: { number, otp: service.lastCode(number) } })
}
