import { MongoClient } from 'mongodb'
import t from 'tap'
import type { LibraryDocument, LibraryStateDocument } from '../../../schemas/documents.js'
import { createLibraryState } from '../../../services/library/state.js'
import { createTotalCheck } from '../../../services/library/total-check.js'
import { versionedLibrary } from '../../../services/library/version-writes.js'
import { startServices } from '../../helpers/backends.js'
import { itemRow } from '../../helpers/items.js'

const MINUTE = 60_000

const { mongoUri } = await startServices(t)
const client = await new MongoClient(mongoUri).connect()
t.teardown(() => client.close())
const db = client.db()
const documents = db.collection<LibraryStateDocument>('library_state')
const states = createLibraryState(documents)
const library = versionedLibrary<LibraryDocument>(db)
/** Writes like a process that dies before the version. */
const unversioned = db.collection<LibraryDocument>('library')

let time = 0
let counts = 0
const warnings: object[] = []
const start = (whileCounting = async () => {}) => createTotalCheck({
  states,
  async countAll () {
    counts++
    await whileCounting()
    return { shown: await unversioned.countDocuments(), hidden: 0 }
  },
  log: { warn: (details: object) => { warnings.push(details) } },
  monotonic: () => time
})

t.beforeEach(async () => {
  await Promise.all([documents.deleteMany({}), unversioned.deleteMany({})])
  warnings.length = 0
  counts = 0
})

t.test('The first check counts what was there before, and later writes update the total', async t => {
  await unversioned.insertMany([itemRow(1), itemRow(2)])
  t.match(await states.read(), { total: 0, counted: false })
  await library.insertOne(itemRow(3))
  await start().run(false)
  t.match(await states.read(), { total: 3, counted: true })
  await library.insertMany([itemRow(4), itemRow(5)])
  await library.deleteOne({})
  t.match(await states.read(), { total: 4 })
  t.same(warnings, [])
})

t.test('A write that was cut short is corrected by the second check that finds it, a minute later', async t => {
  const check = start()
  await check.run(false)
  for (const cut of [() => unversioned.insertOne(itemRow(1)), () => unversioned.deleteOne({})]) {
    await library.insertOne(itemRow(2))
    const { total, version } = await states.read()
    await cut()
    time += 15 * MINUTE
    await check.run(false)
    const checked = await states.read()
    t.equal(checked.total, total)
    t.not(checked.version, version, 'a new version at once, so that lists show the write')
    time += MINUTE - 1
    await check.run(true)
    t.match(await states.read(), { total }, 'too early')
    time += 1
    await check.run(false)
    t.match(await states.read(), { total: await unversioned.countDocuments() })
  }
  t.match(warnings, [
    { event: 'library.total_corrected', difference: 1 },
    { event: 'library.total_corrected', difference: -1 }
  ])
})

t.test('The check counts every 15 minutes, and sooner where something was cut short', async t => {
  const check = start()
  await check.run(false)
  await check.run(false)
  t.equal(counts, 1)
  await check.run(true)
  t.equal(counts, 2)
  time += 15 * MINUTE - 1
  await check.run(false)
  t.equal(counts, 2)
  time += 1
  await check.run(false)
  t.equal(counts, 3)
})

t.test('A count that a write overtook corrects nothing and is done again in the next round', async t => {
  let writes = 0
  const check = start(async () => { if (writes-- > 0) await library.insertOne(itemRow(1)) })
  await check.run(false)
  await unversioned.insertOne(itemRow(2))
  writes = 1
  await check.run(true)
  t.match(await states.read(), { total: 1 }, 'only the write itself')
  await check.run(false)
  time += MINUTE
  await check.run(false)
  t.match(await states.read(), { total: 2 })
})

t.test('A write that is between its two steps at one check has ended at the next, and is not corrected away', async t => {
  const check = start()
  await check.run(false)
  await unversioned.insertOne(itemRow(1)) // the first step
  await check.run(true)
  await states.changed(1) // the second
  time += MINUTE
  await check.run(true)
  t.match(await states.read(), { total: 1 })
  t.same(warnings, [])
})

t.test('Two processes that find the same difference correct it once', async t => {
  const [one, other] = [start(), start()]
  await one.run(false)
  await other.run(false)
  await unversioned.insertOne(itemRow(1))
  for (let minute = 0; minute < 3; minute++) {
    await Promise.all([one.run(true), other.run(true)])
    time += MINUTE
  }
  t.match(await states.read(), { total: 1 })
})
