import { MongoClient, ObjectId, type Db, type Document } from 'mongodb'
import t, { type Test } from 'tap'
import { migrateCommand } from '../../cli/commands/migrate.js'
import { noteTakeover } from '../../services/migration/accounts.js'
import { migrate } from '../../services/migration/migration.js'
import { findAccount } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startServices, withUriOption, type Services } from '../helpers/backends.js'
import { endOf } from '../helpers/command.js'
import { failCommands } from '../helpers/fail-commands.js'
import { LEGACY_SECRET, legacyToken } from '../helpers/jws.js'
import { database030, dump, fillFrom030, fillOldDatabase, oldId, oldLibrary, oldUsers } from '../helpers/old-database.js'
import { runProgram, type Ended } from '../helpers/server-process.js'
import { startService } from '../helpers/service.js'
import { gif } from '../helpers/small-pictures.js'
import { scale } from '../helpers/test-length.js'

/** The fail points of this file are for clients of this name. */
const APP_NAME = 'migrate-test'
const phone = (n: number) => `+9198000000${String(n).padStart(2, '0')}`

const NOWHERE = 'mongodb://hidden:hidden@127.0.0.1:1/hidden'
/** Such a run takes 10 s: the other tests do not wait for it. */
const atNothing = run(NOWHERE)

/** The time in an id of the fixture. */
const IN_ID = oldId(0).getTimestamp()
const merged = (n: number, username: string, number: string, at = new Date('2023-03-02T08:00:00.000Z')) =>
  ({ id: oldId(n), username, number, created_on: at })

/** Each row of the fixture that the migration changes, after the migration. `undefined`: no such field. */
const migrated: Array<[id: ObjectId | string, Document]> = [
  [
    oldId(1),
    {
      username: 'Meera',
      username_key: 'meera',
      number: '+919876543210',
      admin: false,
      merged: [merged(8, 'Meera again', '+919876543210')]
    }
  ],
  [
    oldId(2),
    {
      username: 'Ravi',
      username_key: 'ravi',
      number: '+919876543211',
      admin: false,
      merged: [merged(7, 'Ravi again', '+919876543211')]
    }
  ],
  [
    oldId(3),
    {
      username: 'Asha',
      username_key: 'asha',
      number: '+919876543212',
      admin: false,
      created_on: '2023-03-02T08:00:00',
      merged: [merged(9, 'Asha 2', '9876543212', IN_ID), merged(10, 'Asha 3', '9876543212', IN_ID)]
    }
  ],
  [oldId(4), { number: '+919876543213', admin: false, created_on: 'Thu, 02 Mar 2023 08:00:00 GMT' }],
  [oldId(5), { number: '+919876543214', admin: false }],
  [oldId(6), { number: '+919876543215', admin: false, badge: 'first', created_on: 1677744000 }],
  [oldId(11), { username: 'MEERA', username_key: undefined, number: '+919876543216' }],
  [oldId(12), { username: 'Zo\u00eb', username_key: 'zo\u00eb', number: '+919876543217' }],
  [oldId(13), { username: 'Zoe\u0308', username_key: undefined, number: '+919876543218' }],
  [oldId(14), { username_key: 'nobody', number: undefined, old_number: undefined }],
  [oldId(15), { username_key: 'digits', number: undefined, old_number: '9876543219', duplicate_of: undefined }],
  [oldId(16), { username_key: 'words', number: undefined, old_number: 'ask Ravi', duplicate_of: undefined }],
  [oldId(17), { username: undefined, username_key: undefined, number: '+919876543220' }],
  [oldId(18), { username: '42', username_key: '42', number: '+919876543221' }],
  [oldId(19), { username: ' \u200b', username_key: undefined, number: '+919876543222' }],
  [oldId(20), { number: undefined, old_number: undefined }],
  ['made-by-hand', { username: 'Hand', username_key: undefined, number: undefined, old_number: '+919876543223' }]
]

const OPEN = [
  'no phone number', `has the name of ${oldId(1)}`, `has the name of ${oldId(12)}`, 'no name',
  'its id is no ObjectId'
]

t.test('npm run migrate reports by id and converts every row, and a second run finds nothing to do', async t => {
  const { uri, db } = await oldDatabase(t)
  await db.collection<{ _id: string }>('otps').insertOne({ _id: '+919876543299' })
  const before = await dump(db)
  const dry = await run(uri, ['--dry-run'])
  t.match(dry, { code: 0, stderr: '' })
  t.match(dry.lines.at(-1), /^\d+ changes to make \(nothing was written\); 11 open points to look at\.$/)
  t.same(await dump(db), before, 'a dry run writes nothing')
  t.equal((await runProcess(uri, { env: { npm_config_dry_run: 'true' } })).code, 0)
  t.same(await dump(db), before, 'nor does npm run migrate --dry-run, which forgets the --')

  const real = await run(uri)
  t.match(real, { code: 0, stderr: '' })
  t.match(real.lines.at(-1), /^\d+ changes made; 11 open points to look at\.$/)
  t.same(facts(real.lines), facts(dry.lines), 'the dry run reported all of it')
  const withoutIds = (real.stdout + dry.stdout).replaceAll(/\b[0-9a-f]{24}\b/g, '')
  t.match(withoutIds, /\*{8}3210/)
  t.notMatch(withoutIds, /\d{5}|ask Ravi|Meera/, 'no whole number, no code, no name')
  for (const { _id } of [...oldUsers, ...oldLibrary.slice(0, 4)]) {
    t.ok(real.lines.some(line => line.includes(` ${_id}: `)), `${_id} is in the report`)
  }
  for (const what of OPEN) t.ok(real.lines.some(line => line.includes(`open: ${what}`)), what)
  for (const line of [
    'index otps.phone_1: dropped', 'index users.username_1: dropped', 'index library.newest: dropped',
    'index users.unique_number: built', `otps ${oldId(201)}: dropped`
  ]) {
    t.ok(real.lines.includes(line), line)
  }

  await isMigrated(t, db)
  for (const query of [{ number: '+919876543210' }, { username_key: 'meera' }]) {
    t.match(
      JSON.stringify(await db.collection('users').find(query).explain('queryPlanner')),
      /IXSCAN|EXPRESS_IXSCAN/,
      'the unique indexes serve the queries'
    )
  }
  const after = await dump(db)
  const again = await run(uri)
  t.match(again, { code: 0, stderr: '' })
  t.equal(again.stdout, 'Nothing to do.\n')
  t.same(await dump(db), after, 'a second run changes nothing')
})

t.test('npm run migrate never unblocks a phone, because the row that keeps the number is blocked', async t => {
  const db = (await connected(t, (await startServices(t)).mongoUri)).db()
  const users = db.collection('users')
  const row = (n: number, number: string, more = {}) => ({
    _id: oldId(n),
    username: `Person ${n}`,
    number,
    admin: false,
    ...more
  })
  await users.insertMany([
    row(1, '98765 43210'), row(2, '+919876543210', { blocked: true }),
    row(3, '98765 43211'), row(4, '098765 43211', { blocked: true }),
    row(5, '98765 43212'), row(6, '+919876543212', { blocked: false })
  ])
  const reports: string[][] = []
  for (const dryRun of [true, false]) {
    const lines: string[] = []
    await migrate({ db, region: 'IN', dryRun, print: line => lines.push(line) })
    reports.push([...facts([...lines, ''])].filter(fact => fact.includes('merged into')))
  }
  t.same(reports[0], reports[1], 'the dry run reported it')
  t.same(reports[0]!.map(fact => fact.includes('blocks')), [true, true, false])
  const kept = await users.find({ number: { $exists: true } }).sort({ _id: 1 }).toArray()
  t.same(
    kept.map(({ _id, blocked = false }) => [_id, blocked]),
    [[oldId(1), true], [oldId(3), true], [oldId(5), false]]
  )
  await users.updateMany({}, { $set: { blocked: false } })
  t.match(await migrate({ db, region: 'IN', dryRun: false, print: () => {} }), { changes: 0 })
})

t.test(
  'npm run migrate gives the same result on a database where the service has started, or on an empty one',
  async t => {
    const { uri, db } = await oldDatabase(t, { shared: false })
    await db.dropCollection('otps')
    await db.collection('library').dropIndex('newest')
    await migrate({ db, region: 'IN', dryRun: false, print: () => {} })
    const end = await dump(db)
    for (const name of ['users', 'library']) await db.collection(name).deleteMany({})
    await db.collection('users').insertMany(oldUsers.filter(({ _id }) =>
      ![oldId(8), oldId(10)].some(id => id.equals(_id))))
    await db.collection('library').insertMany(oldLibrary)
    t.equal((await run(uri)).code, 0)
    t.same(await dump(db), end)

    await db.dropDatabase()
    t.match((await run(uri, ['--dry-run'])).lines, [/^index /])
    t.same(await dump(db), {})
    t.equal((await run(uri)).code, 0)
    t.equal((await run(uri)).stdout, 'Nothing to do.\n')
  }
)

t.test('npm run migrate with a wrong argument or variable prints one sentence and no part of a value', async t => {
  const [none, empty, unreachable, malformed, unknown, extra] = await Promise.all([
    run(undefined),
    run(''),
    atNothing,
    run('postgres://hidden@hidden'),
    run(NOWHERE, ['--dryrun']),
    run(NOWHERE, ['hidden'])
  ])
  t.match(none, { code: 1, stdout: '', stderr: /^MONGO_URI must be set[^\n]*\n$/ })
  t.match(empty, { code: 1, stdout: '', stderr: /^MONGO_URI must be set[^\n]*\n$/ })
  t.match(unreachable, { code: 1, stdout: '', stderr: /^MongoDB cannot be reached at MONGO_URI[^\n]*\n$/ })
  t.match(malformed, { code: 1, stdout: '', stderr: /^[^\n]*MONGO_URI must begin with mongodb[^\n]*\n$/ })
  t.match(unknown, { code: 2, stdout: '', stderr: 'Usage: npm run migrate [-- [--dry-run] [--keep-admins]]\n' })
  t.match(extra, { code: 2, stdout: '', stderr: 'Usage: npm run migrate [-- [--dry-run] [--keep-admins]]\n' })
  for (const { stderr } of [unreachable, malformed, unknown, extra]) t.notMatch(stderr, /hidden/)
})

t.test(
  'another npm run migrate after a kill or a failed write reaches the same end',
  async t => {
    const { uri, db } = await oldDatabase(t)
    await migrate({ db, region: 'IN', dryRun: false, print: () => {} })
    const end = await dump(db)

    for (const killAfterLines of [20, 4, 1, 12, 30].slice(0, scale({ short: 1, long: 5 }))) {
      await refill(db)
      t.equal((await runProcess(uri, { killAfterLines })).code, null, `killed after ${killAfterLines} lines`)
      t.equal((await run(uri)).code, 0)
      t.same(await dump(db), end)
    }

    const client = failingClient(t, uri)
    const kinds = [1, 3, 8, 9, 36, 37, 38, 46]
    let stopped = 0
    for (const stop of stops(kinds)) {
      await refill(db)
      const heal = await failCommands(uri, {
        commands: ['update', 'delete', 'createIndexes', 'dropIndexes'],
        appName: APP_NAME,
        errorCode: 8000,
        skip: stop
      })
      const run = migrate({ db: client.db(db.databaseName), region: 'IN', dryRun: false, print: () => {} })
      const isWhole = await run.then(() => true, () => false)
      await heal()
      if (isWhole) break
      stopped++
      await migrate({ db, region: 'IN', dryRun: false, print: () => {} })
      t.same(await dump(db), end, `stopped after ${stop} writes`)
    }
    t.ok(stopped >= kinds.length, `${stopped} runs were stopped`)
  }
)

t.test('npm run migrate with a failing write exits with 1 and one sentence without a number', async t => {
  const { uri } = await oldDatabase(t)
  const heal = await failCommands(uri, { commands: ['update'], appName: APP_NAME, errorCode: 11601 })
  const { code, stderr } = await runProcess(withUriOption(uri, 'appName', APP_NAME))
  await heal()
  t.equal(code, 1)
  t.match(
    stderr,
    /^The migration stopped; what is done stays done, and another run does the rest: MongoServerError[^\n]*\n$/
  )
})

t.test('the service refuses a database that no migration has begun on, and names the command', async t => {
  const services = await startServices(t)
  const client = await connected(t, services.mongoUri)
  await fillOldDatabase(client.db())
  await t.rejects(startService(t, { services }), { message: /npm run migrate/ })
  await fillFrom030(client.db())
  await noteTakeover(client.db(), new Date())
  await t.rejects(startService(t, { services }), { message: /npm run migrate/ }, 'one of 0.3.0 until it is converted')
})

t.test('npm run migrate on a database of 0.3.0', async t => {
  t.test('a dry run reports the same, the run converts everything, and a second run changes nothing', async t => {
    const { services, db } = await database(t)
    const before = await dump(db)
    const dry = await run(services.mongoUri, ['--dry-run'])
    t.match(dry, { code: 0, stderr: '' })
    t.same(await dump(db), before, 'a dry run writes nothing')
    const real = await run(services.mongoUri)
    t.match(real, { code: 0, stderr: '' })
    t.same(facts(real.lines), facts(dry.lines), 'the dry run reported all of it')
    const after = await dump(db)
    t.match(await run(services.mongoUri), { code: 0, stdout: 'Nothing to do.\n' })
    t.same(await dump(db), after)
    t.notMatch(
      JSON.stringify(after),
      /number_since|"moved|"session"|started_at":\{"\$date":"2026-11-28T13:30:(0[4-9]|1[0-1])[^}]*\},"created_at/
    )
    t.notOk('sessions' in after)
    for (const name of ['otps', 'idempotency', 'usage']) t.equal(await db.collection(name).countDocuments(), 0, name)
    t.equal(await db.collection('users').countDocuments({ schema: { $ne: 2 } }), 0)
  })

  t.test('accounts, names, admins, blocks, items and quotas are carried over; people sign in again', async t => {
    const { services, db } = await migratedDatabase(t)
    const service = await startService(t, { services, env: { UPLOAD_QUOTA_ITEMS: '2' } })
    const signIn = async (n: number) => (await service.signIn(phone(n))).token
    const mine = async (token: string) =>
      (await ok(service.call('GET', '/library?mine=true', { token }))).body.items.map(
        ({ user_id: label, owner_id: owner }: { user_id: string, owner_id: string }) => [label, owner]
      )
    const [boss, meera, asha, ravi, kiran, nobody, newcomer] = [
      await signIn(1), await signIn(2), await signIn(4), await signIn(8), await signIn(10), await signIn(5),
      await signIn(9)
    ]
    const idOf = (name: string) => database030.users!.rows.find(({ username }) => username === name)!._id.toHexString()
    for (const { token, name, admin = false } of [
      { token: boss, name: 'Boss', admin: true },
      { token: meera, name: 'Meera' },
      { token: asha, name: 'Asha', admin: true },
      { token: ravi, name: 'Ravi' },
      { token: kiran, name: 'Kiran' }
    ]) {
      t.match(
        await service.call('GET', '/users/me', { token }),
        { status: 200, body: { _id: idOf(name), username: name, admin } },
        name
      )
    }
    t.same(await mine(meera), [['meera', idOf('Meera')], ['meera', idOf('Meera')]])
    t.same(await mine(ravi), [['ravi', idOf('Ravi')]], 'after a number change')
    t.same(await mine(kiran), [['kiran', idOf('Kiran')]], 'after one that was cut short')
    t.same(await mine(newcomer), [])
    t.match(await mine(nobody), [['nobody yet', /^[0-9a-f]{24}$/]], 'an account without a name')
    t.equal((await service.call('GET', '/users/me', { token: nobody })).status, 404)
    t.match(await service.call('GET', '/library?user_id=deleted', { token: boss }), {
      status: 200,
      body: { total: 1, items: [{ owner_id: null }] }
    })
    await ok(service.call('POST', '/auth/request-otp', { json: { phone: phone(3) } }))
    t.equal(service.lastCode(phone(3)), '', 'a blocked phone stays blocked')
    t.match(await service.call('GET', '/library?user_id=mallory', { token: boss }), {
      status: 200,
      body: { items: [{ owner_id: idOf('Mallory') }] }
    })
    t.equal((await service.upload(meera, gif)).status, 413)
    t.match(
      await service.call('POST', '/users', { token: meera, json: { username: 'Meera', number: phone(2) } }),
      { status: 201, body: { user_id: idOf('Meera') } }
    )
    t.match(await service.app.sweeper.sweep(), { failed: 0 })
    t.equal(await db.collection('uploads').countDocuments(), 0)
  })

  t.test(
    'tokens of the replaced system are refused where some were revoked, and for a number without an account',
    async t => {
      const { services } = await migratedDatabase(t)
      const service = await startService(t, { services, env: { JWT_LEGACY_SECRET: LEGACY_SECRET } })
      for (const token of [
        legacyToken(phone(2)),
        legacyToken(phone(77)),
        legacyToken(phone(77), { iat: 0 }),
        legacyToken(phone(77), { iat: -1 })
      ]) {
        t.equal((await service.call('GET', '/auth/sessions', { token })).status, 401)
      }
      t.equal(await findAccount(service, { phone: phone(77) }), null)
    }
  )

  t.test('items that belong to a phone number are converted also without a collection of sessions', async t => {
    const { services, db } = await database(t)
    await db.dropCollection('sessions')
    t.equal((await run(services.mongoUri)).code, 0)
    t.equal(await db.collection('library').countDocuments({ owner: { $type: 'string' } }), 0)
    await startService(t, { services })
  })

  t.test('when a run stops at any of its writes, another run reaches the same end', async t => {
    const { services, db } = await database(t)
    const client = failingClient(t, services.mongoUri)
    const now = () => new Date('2026-11-29T00:00:00Z')
    const options = { region: 'IN', dryRun: false, now, print: () => {} }
    await migrate({ db, ...options })
    const old = JSON.stringify(database030)
    const normal = async () => JSON.stringify(await dump(db))
      .replaceAll(/\\"\$date\\":\\"20[^"]*"/g, '')
      .replaceAll(/[0-9a-f]{24}/g, id => old.includes(id) ? id : 'new')
    const end = await normal()
    const kinds = [1, 2, 11, 28, 29, 30, 31, 34, 37, 41, 42]
    let stopped = 0
    for (const stop of stops(kinds)) {
      await db.dropDatabase()
      await fillFrom030(db)
      const heal = await failCommands(services.mongoUri, {
        commands: ['update', 'delete', 'findAndModify', 'drop', 'dropIndexes', 'createIndexes'],
        appName: APP_NAME,
        errorCode: 8000,
        skip: stop
      })
      const isWhole = await migrate({ db: client.db(db.databaseName), ...options }).then(() => true, () => false)
      await heal()
      if (isWhole) break
      stopped++
      await migrate({ db, ...options })
      t.equal(await normal(), end, `stopped after ${stop} writes`)
    }
    t.ok(stopped >= kinds.length, `${stopped} runs were stopped`)
  })
})

t.test(
  'tokens of the replaced system still lead to their users on a migrated database',
  async t => {
    const services = await startServices(t)
    const client = await connected(t, services.mongoUri)
    await fillOldDatabase(client.db())
    t.equal((await run(services.mongoUri)).code, 0)
    const service = await startService(t, { services, env: { JWT_LEGACY_SECRET: LEGACY_SECRET } })
    const keepers = oldUsers.filter(({ _id }) => [1, 2, 3, 4, 5, 6, 11, 12, 13, 18, 19].some(n => oldId(n).equals(_id)))
    for (const { _id, username, number, created_on: createdOn } of keepers) {
      const token = legacyToken(number)
      const { number: phone, merged: others = [] } = migrated.find(([id]) => _id.equals(id))![1]
      const { status, body } = await service.call('GET', '/users/me', { token })
      t.match(
        { status, body },
        { status: 200, body: { _id: _id.toHexString(), number: phone, admin: false } },
        `the owner of ${_id}`
      )
      if (typeof createdOn !== 'number') t.equal(body.created_on, '2023-03-02T08:00:00.000Z')
      for (const { id, username: name } of others) {
        t.match(
          await service.call('POST', '/users', { token, json: { username: name.toUpperCase(), number: phone } }),
          { status: 201, body: { user_id: _id.toHexString() } },
          'the name of a merged row signs in'
        )
        t.match(
          await service.call('GET', `/users/${id}`, { token }),
          { status: 200, body: { _id: _id.toHexString(), username, number: phone } },
          'the id of a merged row answers the account'
        )
      }
      if (String(username ?? '').trim().length < 2) continue
      for (const notation of [phone, `0${phone.slice(3)}`, `0091 ${phone.slice(3, 8)}-${phone.slice(8)}`]) {
        t.match(
          await service.call('POST', '/users', { token, json: { username: String(username), number: notation } }),
          { status: 201, body: { user_id: _id.toHexString() } }
        )
      }
    }
    t.match(
      await service.call('GET', '/users/me', { token: legacyToken('98765 43212') }),
      { status: 200, body: { _id: oldId(3).toHexString() } },
      'by the number of a duplicate, the oldest'
    )

    const second = { token: legacyToken(oldUsers[10]!.number), json: { username: 'Meera the second' } }
    t.match(await service.call('PATCH', '/users/me', { ...second, json: { username: 'mEERA' } }), { status: 409 })
    t.match(
      await service.call('PATCH', '/users/me', second),
      { status: 200, body: { _id: oldId(11).toHexString(), ...second.json } },
      'renames, and has a unique name then'
    )
    t.match(await findAccount(service, { id: oldId(11).toHexString() }), { username_key: 'meera the second' })
    const nameless = {
      token: legacyToken(oldUsers[16]!.number),
      json: { username: 'Somebody', number: oldUsers[16]!.number }
    }
    t.equal((await service.call('GET', '/users/me', { token: nameless.token })).status, 404)
    t.match(
      await service.call('POST', '/users', nameless),
      { status: 201, body: { user_id: oldId(17).toHexString() } },
      'an old row with an empty name can be named'
    )

    const token = legacyToken('+919876543210')
    for (const n of oldUsers.keys()) {
      if (oldUsers[n]!._id instanceof ObjectId) {
        t.equal(
          (await service.call('GET', `/users/${oldUsers[n]!._id}`, { token })).status,
          oldUsers[n]!.username || n === 16 ? 200 : 404
        )
      }
    }
    const { body } = await ok(service.call('GET', '/library', { token }))
    t.match(body, {
      total: 5,
      items: [105, 104, 103, 102, 101].map(n => ({ id: oldId(n).toHexString(), url: oldLibrary[n - 101]!.url }))
    })
    t.match(body.items.at(-1), { type: 'gif', category: 'GIF', created_at: '2023-03-02T09:00:00.123Z' })
    const signedIn = await service.signIn('+919876543213')
    t.match(
      await service.call('GET', '/users/me', { token: signedIn.token }),
      { status: 200, body: { _id: oldId(4).toHexString() } },
      'and by a code'
    )
  }
)

async function isMigrated (t: Test, db: Db): Promise<void> {
  for (const [id, wanted] of migrated) {
    const row = await db.collection<Document>('users').findOne({ _id: id } as Document) as Document
    t.same(Object.fromEntries(Object.keys(wanted).map(field => [field, row[field]])), wanted, String(id))
  }
  t.equal(await db.collection('users').countDocuments(), oldUsers.length - 4)
  t.same(await db.collection('otps').find().toArray(), [{ _id: '+919876543299' }])
  t.same(await db.collection('library').find().sort({ _id: 1 }).toArray(), oldLibrary.map((item, n) => ({
    ...item,
    type: ['gif', 'image', 'gif', 'image', 'sticker'][n],
    category: ['GIF', 'Images', 'Party', 'Images', 'Moons'][n]
  })))
}

/** The facts of a report, one for each subject. They do not depend on the order and the lines of the report. */
const facts = (lines: string[]) => [...new Set(lines.slice(0, -1).flatMap(line => {
  const [subject, rest = ''] = line.split(/: (.*)/s)
  return rest.split('; ').map(fact => `${subject}: ${fact}`)
}))].sort()

async function oldDatabase (t: Test, options = {}): Promise<{ uri: string, db: Db }> {
  const { mongoUri: uri } = await startServices(t)
  const db = (await connected(t, uri)).db()
  await fillOldDatabase(db, options)
  return { uri, db }
}

/** A database of 0.3.0. */
async function database (t: Test): Promise<{ services: Services, db: Db }> {
  const services = await startServices(t)
  const db = (await connected(t, services.mongoUri)).db()
  await fillFrom030(db)
  return { services, db }
}

/** A database of 0.3.0 after the migration. */
async function migratedDatabase (t: Test): Promise<{ services: Services, db: Db }> {
  const made = await database(t)
  await migrate({ db: made.db, region: 'IN', dryRun: false, print: () => {} })
  return made
}

/**
 * After how many of its writes a migration stops: at each kind of write, or in the long run at all of them. More than
 * there are end the test.
 */
const stops = (kinds: number[]) => scale({ short: 0, long: 1 }) ? Array.from({ length: 200 }, (_, n) => n) : kinds

async function refill (db: Db): Promise<void> {
  await db.dropDatabase()
  await fillOldDatabase(db)
}

async function connected (t: Test, uri: string): Promise<MongoClient> {
  const client = await new MongoClient(uri).connect()
  t.teardown(async () => {
    await client.db().dropDatabase()
    await client.close()
  })
  return client
}

/** A client that the fail points of this file apply to. */
function failingClient (t: Test, uri: string): MongoClient {
  const client = new MongoClient(withUriOption(uri, 'appName', APP_NAME))
  t.teardown(() => client.close())
  return client
}

/** Runs the command with this address of a database. */
async function run (uri: string | undefined, args: string[] = []) {
  return withLines(await endOf(migrateCommand, args, uri === undefined ? {} : { MONGO_URI: uri }))
}

/** Runs the program in a process of its own, to its end, or kills it after this many lines of output. */
async function runProcess (
  uri: string,
  { env = {}, killAfterLines }: { env?: Record<string, string>, killAfterLines?: number } = {}
) {
  return withLines(await runProgram('cli/migrate.js', [], { ...env, MONGO_URI: uri }, { killAfterLines }))
}

function withLines (ended: Ended): Ended & { lines: string[] } {
  return { ...ended, lines: ended.stdout.split('\n').slice(0, -1) }
}
