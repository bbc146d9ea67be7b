import type { Db, Document } from 'mongodb'
import t, { type Test } from 'tap'
import { noteTakeover } from '../../services/migration/accounts.js'
import { migrate } from '../../services/migration/migration.js'
import { startServices } from '../helpers/backends.js'
import { connected, facts, oldDatabase, run, runProcess } from '../helpers/migrate-command.js'
import { dump, fillFrom030, fillOldDatabase, migrated, oldId, oldLibrary, oldUsers } from '../helpers/old-database.js'
import { startService } from '../helpers/service.js'

const NOWHERE = 'mongodb://hidden:hidden@127.0.0.1:1/hidden'
/** Such a run takes 10 s: the other tests do not wait for it. */
const atNothing = run(NOWHERE)

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

t.test('the service refuses a database that no migration has begun on, and names the command', async t => {
  const services = await startServices(t)
  const client = await connected(t, services.mongoUri)
  await fillOldDatabase(client.db())
  await t.rejects(startService(t, { services }), { message: /npm run migrate/ })
  await fillFrom030(client.db())
  await noteTakeover(client.db(), new Date())
  await t.rejects(startService(t, { services }), { message: /npm run migrate/ }, 'one of 0.3.0 until it is converted')
})

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
