import { MongoClient, type Db } from 'mongodb'
import t, { type Test } from 'tap'
import { migrateCommand } from '../../cli/commands/migrate.js'
import { startServices } from '../helpers/backends.js'
import { endOf } from '../helpers/command.js'
import { dump, oldId } from '../helpers/old-database.js'

/** Rows of the replaced system, in a database of 0.3.0, and rows of 0.3.0, which have a `username_key`. */
const rows = [
  { _id: oldId(1), username: 'Meera', number: '9876543210', admin: true },
  { _id: oldId(2), username: 'Ravi', number: '9876543211', admin: false },
  { _id: oldId(3), username: 'Asha', number: '+919876543212', admin: 'true' },
  { _id: oldId(4), username: 'Meera again', number: '+91 98765 43210', admin: true },
  { _id: oldId(5), username: 'Boss', username_key: 'boss', number: '+919876543213', admin: true },
  // 0.3.0 made this one for its number: the first and the fourth row are merged into it
  { _id: oldId(6), username: 'MEERA', username_key: 'meera', number: '+919876543210', admin: true },
  { _id: oldId(7), username: 'Nila', number: '9876543214', admin: true }
]

t.test('npm run migrate takes no admin over from the replaced system, and names each by id', async t => {
  const { uri, db } = await database(t)
  const before = await dump(db)
  const dry = await run(uri, '--dry-run')
  t.same(await dump(db), before, 'a dry run writes nothing')
  const real = await run(uri)
  for (const { stdout } of [dry, real]) t.same(lostRights(stdout), [1, 4, 7].map(n => String(oldId(n))))
  t.same(await admins(db), [oldId(5), oldId(6)])
  const again = await run(uri)
  t.equal(again.stdout, 'Nothing to do.\n')
})

t.test('npm run migrate with --keep-admins takes them over, and names each by id', async t => {
  const { uri, db } = await database(t)
  const dry = await run(uri, '--dry-run', '--keep-admins')
  const real = await run(uri, '--keep-admins')
  for (const { stdout } of [dry, real]) {
    t.same(lostRights(stdout), [])
    t.same(subjectsOf(stdout, /open: stays an admin/), [1, 4, 7].map(n => String(oldId(n))))
  }
  t.same(await admins(db), [5, 6, 7].map(oldId))
  t.equal((await run(uri)).stdout, 'Nothing to do.\n', 'a second run, without the option, takes no right away')
})

t.test('npm run migrate --keep-admins, which forgets the --, keeps them too', async t => {
  const { uri, db } = await database(t)
  t.match(await endOf(migrateCommand, [], { MONGO_URI: uri, npm_config_keep_admins: 'true' }), { code: 0 })
  t.same(await admins(db), [5, 6, 7].map(oldId))
})

t.test('an admin of 0.3.0 whose name was taken by an interrupted run stays one', async t => {
  const { uri, db } = await database(t)
  // as a run leaves it that ended after an older row had taken the name
  await db.collection('users').updateOne({ _id: oldId(5) }, {
    $set: { key_given_up: true },
    $unset: { username_key: '' }
  })
  t.same(lostRights((await run(uri)).stdout), [1, 4, 7].map(n => String(oldId(n))))
  t.same(await admins(db), [oldId(5), oldId(6)])
  t.equal(await db.collection('users').countDocuments({ key_given_up: { $exists: true } }), 0)
})

async function database (t: Test): Promise<{ uri: string, db: Db }> {
  const { mongoUri: uri } = await startServices(t)
  const client = await new MongoClient(uri).connect()
  t.teardown(() => client.close())
  await client.db().collection('users').insertMany(rows)
  await client.db().collection('sessions').insertOne({ phone: '+919876543213' })
  return { uri, db: client.db() }
}

async function run (uri: string, ...args: string[]) {
  const ended = await endOf(migrateCommand, args, { MONGO_URI: uri })
  if (ended.code !== 0) throw new Error(`exit code ${ended.code}: ${ended.stderr}`)
  return ended
}

const admins = (db: Db) => db.collection('users').find({ admin: true }).sort({ _id: 1 }).map(({ _id }) => _id).toArray()

/** The ids of the users that the report says this of. */
const subjectsOf = (report: string, what: RegExp) => report.split('\n')
  .filter(line => what.test(line))
  .map(line => /^users (\w+): /.exec(line)![1])
  .sort()
const lostRights = (report: string) => subjectsOf(report, /no longer an admin/)
