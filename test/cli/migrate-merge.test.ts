import { MongoClient, type Db, type Document } from 'mongodb'
import t, { type Test } from 'tap'
import { migrateCommand } from '../../cli/commands/migrate.js'
import { noteTakeover } from '../../services/migration/accounts.js'
import { createUser, freshPhone } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startServices, type Services } from '../helpers/backends.js'
import { endOf } from '../helpers/command.js'
import { LEGACY_SECRET, legacyToken } from '../helpers/jws.js'
import { dump, oldId } from '../helpers/old-database.js'
import { startService } from '../helpers/service.js'
import { scale } from '../helpers/test-length.js'

/** A row of the replaced system. */
const row = (n: number, username: string, number: string, more: Document = {}) =>
  ({ _id: oldId(n), username, number, admin: false, created_on: new Date('2023-03-02T08:00:00.000Z'), ...more })

const PHONE = '+919876543210'

t.test('npm run migrate beside the service gives the rows of a number to the account that the service made', async t => {
  const { services, db } = await begunDatabase(t, [
    row(1, 'Meera', '9876543210'),
    row(2, 'Meera two', '098765 43210'),
    row(3, 'Ravi', '98765-43211', { admin: true })
  ])
  const service = await startService(t, { services })
  const [named, unnamed] = [await createUser(service, { phone: PHONE }), await service.signIn('+919876543211')]
  await reportsAlike(t, services, db)

  t.same(await db.collection('users').countDocuments(), 2)
  for (const [username, n] of [['Meera', 1], ['Meera two', 2]] as const) {
    t.match(
      await service.call('POST', '/users', { token: named.token, json: { username, number: PHONE } }),
      { status: 201, body: { user_id: named.id } },
      'each name signs in'
    )
    t.match(await service.call('GET', `/users/${oldId(n)}`, { token: named.token }), {
      status: 200,
      body: { _id: named.id, username: named.username }
    })
  }
  const ravi = await service.call('GET', `/users/${oldId(3)}`, { token: unnamed.token })
  t.match(ravi, { status: 200, body: { username: 'Ravi', number: '+919876543211' } }, 'it takes the name of the row')
  t.match(
    await service.call('POST', '/users', { token: unnamed.token, json: { username: 'Ravi', number: '9876543211' } }),
    { status: 201, body: { user_id: ravi.body._id } }
  )
  t.match(await service.call('GET', '/users/me', { token: unnamed.token }), { status: 200, body: { admin: false } })
})

t.test('People sign in while npm run migrate goes on, and each ends with one account', async t => {
  const people = Array.from({ length: scale({ short: 12, long: 200 }) }, (_, n) => `98765${String(n).padStart(5, '0')}`)
  const ways = [
    (number: string) => `+91${number}`,
    (number: string) => number,
    (number: string) => `0${number}`,
    (number: string) => `${number.slice(0, 5)} ${number.slice(5)}`
  ]
  const rows = people.flatMap((number, n) => ways.slice(0, 1 + n % 4).map((write, way) =>
    row(4 * n + way, `Person ${n} ${way}`, write(number))))
  const { services, db } = await begunDatabase(t, rows)
  const service = await startService(t, { services, env: { JWT_LEGACY_SECRET: LEGACY_SECRET } })
  const tokens = people.map(number => legacyToken(`+91${number}`))
  const [migration, ...uses] = await Promise.all([
    endOf(migrateCommand, [], { MONGO_URI: services.mongoUri }),
    ...tokens.map(token => service.call('GET', '/auth/sessions', { token }))
  ])
  t.match(migration, { code: 0, stderr: '' })
  t.same(uses.filter(({ status }) => status !== 200), [])
  t.equal(await db.collection('users').countDocuments(), people.length, 'one account for each number')
  for (const [n, token] of tokens.entries()) {
    t.equal((await service.call('GET', '/auth/sessions', { token })).status, 200, 'still signed in')
    for (const way of ways.slice(0, 1 + n % 4).keys()) {
      const json = { username: `Person ${n} ${way}`, number: people[n]! }
      t.equal((await service.call('POST', '/users', { token, json })).status, 201, json.username)
    }
  }
})

t.test('A name that only a merged row holds is free, and still signs in to its account', async t => {
  const { services, db } = await begunDatabase(t, [row(1, 'Meera', '9876543210'), row(2, 'Asha', PHONE)])
  await reportsAlike(t, services, db)
  const service = await startService(t, { services })
  const { token } = await service.signIn(PHONE)
  const stranger = await createUser(service, { username: 'Asha' })
  t.match(
    await service.call('POST', '/users', { token, json: { username: 'asha', number: PHONE } }),
    { status: 201, body: { user_id: String(oldId(1)) } }
  )
  t.match(await service.call('GET', '/users/me', { token: stranger.token }), {
    status: 200,
    body: { username: 'Asha' }
  })
})

t.test('The rows of a number go with its account: to its new number, or away', async t => {
  const { services, db } = await begunDatabase(t, [row(1, 'Meera', '9876543210'), row(2, 'Ravi', '9876543211')])
  const service = await startService(t, { services })
  const meera = await createUser(service, { phone: PHONE })
  const ravi = await createUser(service, { phone: '+919876543211' })
  const number = freshPhone()
  await ok(service.call('POST', '/users/me/number', { token: meera.token, json: { number } }))
  const otp = service.lastCode(number)
  await ok(service.call('POST', '/users/me/number/verify', { token: meera.token, json: { number, otp } }))
  t.equal((await service.call('DELETE', '/users/me', { token: ravi.token })).status, 204)
  const { stdout } = await reportsAlike(t, services, db)
  t.match(stdout, `users ${oldId(2)}: removed: its user has deleted the account since`)
  t.match(await service.call('GET', `/users/${oldId(1)}`, { token: meera.token }), {
    status: 200,
    body: { _id: meera.id, number }
  })
  t.equal((await service.call('GET', `/users/${oldId(2)}`, { token: meera.token })).status, 404)
})

t.test('A dry run reports who names whom, who stays an admin, and whose name is taken', async t => {
  for (const args of [[], ['--keep-admins']]) {
    const { services, db } = await begunDatabase(t, [
      row(1, 'First', '98765 43210'),
      row(2, 'Second', PHONE, { admin: true }),
      row(3, '', '98765 43211'),
      row(4, 'Named', '+919876543211'),
      row(5, '', '98765 43212'),
      row(6, 'first', '9876543212'),
      row(7, 'Named', '9876543213')
    ])
    await reportsAlike(t, services, db, args)
    t.match(await accounts(db), [
      { _id: oldId(1), username: 'First', admin: args.length > 0 },
      { _id: oldId(3), username: 'Named', username_key: 'named' },
      { _id: oldId(5), username: 'first', username_key: undefined },
      { _id: oldId(7), username: 'Named', username_key: undefined }
    ])
  }
})

t.test('A row that the migration has not reached yet signs in, and its admin right counts for nothing', async t => {
  const { services, db } = await begunDatabase(t, [
    row(1, 'Older', '9876543210'),
    row(2, 'Mallory', PHONE, { admin: true })
  ])
  const service = await startService(t, { services, env: { ADMIN_NUMBERS: '+919876543219' } })
  const { token } = await service.signIn(PHONE)
  t.match(await service.call('GET', '/users/me', { token }), {
    status: 200,
    body: { _id: String(oldId(2)), username: 'Mallory', admin: false }
  })
  t.equal((await service.call('GET', '/users', { token })).status, 403)
  const { token: admin } = await service.signIn('+919876543219')
  t.equal((await service.call('PATCH', `/users/${oldId(2)}`, { token: admin, json: { admin: true } })).status, 503)
  // the service's own field must not make it look like a row of this service
  t.equal((await service.call('PATCH', '/users/me', { token, json: { username: 'Mallory B' } })).status, 200)
  await reportsAlike(t, services, db)
  t.equal((await service.call('GET', '/users', { token })).status, 403)
  t.match(await service.call('GET', '/users/me', { token }), { status: 200, body: { _id: String(oldId(2)) } },
    'the row that somebody is signed in to is the account, although it is newer')
  t.match(await accounts(db), [{ _id: oldId(2), username: 'Mallory B', admin: false, merged: [{ id: oldId(1) }] }])
})

t.test('What 0.3.0 kept as duplicates goes into their accounts, also after another number change', async t => {
  const { services, db } = await begunDatabase(t, [
    row(1, 'Meera', '+919876543219', { username_key: 'meera' }),
    row(2, 'Meera two', '', {
      number: undefined,
      username_key: 'meera two',
      duplicate_of: oldId(1),
      old_number: '98765 43210',
      blocked: true,
      admin: true
    }),
    row(3, 'Lost', '', { number: undefined, duplicate_of: oldId(99), old_number: '98765 43212' }),
    row(4, '', '+919876543213'),
    row(5, 'Asha', '', { number: undefined, username_key: 'asha', duplicate_of: oldId(4), old_number: '98765 43213' })
  ])
  await reportsAlike(t, services, db)
  t.match(await accounts(db), [
    {
      _id: oldId(1),
      number: '+919876543219',
      admin: false,
      blocked: undefined,
      merged: [{ id: oldId(2), number: '98765 43210' }]
    },
    { _id: oldId(3), username: 'Lost', old_number: '98765 43212' },
    { _id: oldId(4), username: 'Asha', username_key: 'asha', merged: [{ id: oldId(5) }] }
  ], '0.3.0 gave its block to the account, which may be unblocked since, and its right to nobody')
})

t.test('An account takes at most 100 rows in; a further one stays without a number, and its block counts', async t => {
  const { services, db } = await begunDatabase(t, [
    ...Array.from({ length: 101 }, (_, i) => row(i + 1, `Meera ${i}`, written(i))),
    row(200, 'One more', written(101), { blocked: true })
  ])
  const { stdout } = await reportsAlike(t, services, db)
  t.match(stdout, new RegExp(`^users ${oldId(200)}: .*open: ${oldId(1)} has its number, and 100 merged rows`, 'm'))
  const [account, other] = await accounts(db)
  t.match(account, { _id: oldId(1), number: PHONE, blocked: true })
  t.equal(account!.merged.length, 100)
  t.match(other, { _id: oldId(200), username: 'One more', old_number: written(101), number: undefined })
})

/** The phone number in one of 128 ways: each bit of `n` puts a dash between two digits. */
const written = (n: number) => [...PHONE.slice(3)].map((digit, i) => n >> i & 1 ? `${digit}-` : digit).join('')

/** A database of the replaced system on which a migration has begun, so that the service starts on it. */
async function begunDatabase (t: Test, rows: Document[]): Promise<{ services: Services, db: Db }> {
  const services = await startServices(t)
  const client = await new MongoClient(services.mongoUri).connect()
  t.teardown(() => client.close())
  const db = client.db()
  await db.collection('users').insertMany(rows, { ignoreUndefined: true })
  await noteTakeover(db, new Date())
  return { services, db }
}

/** Migrates after a dry run that reports the same and changes nothing. A second run has nothing to do. */
async function reportsAlike (
  t: Test,
  { mongoUri: uri }: Services,
  db: Db,
  options: string[] = []
): Promise<{ stdout: string }> {
  const run = (...args: string[]) => endOf(migrateCommand, [...options, ...args], { MONGO_URI: uri })
  const before = (await dump(db)).users
  const dry = await run('--dry-run')
  t.same((await dump(db)).users, before, 'a dry run writes nothing')
  const real = await run()
  t.match(real, { code: 0, stderr: '' })
  t.same(aboutUsers(real.stdout), aboutUsers(dry.stdout), 'the dry run reports the same')
  t.equal((await run()).stdout, 'Nothing to do.\n')
  return real
}

/** The facts about users, one for each line. A real run may tell them in more lines than a dry one. */
const aboutUsers = (report: string) => [...new Set(report.split('\n').flatMap(line => {
  const [, id, facts = ''] = /^users (\w+): (.*)/.exec(line) ?? []
  return facts.split('; ').filter(() => id !== undefined).map(fact => `${id}: ${fact}`)
}))].sort()

const accounts = (db: Db): Promise<Document[]> => db.collection('users').find().sort({ _id: 1 }).toArray()
