import { MongoClient, ObjectId } from 'mongodb'
import t from 'tap'
import type { LibraryDocument } from '../schemas/documents.js'
import { createLibraryState } from '../services/library/state.js'
import { createTotalCheck } from '../services/library/total-check.js'
import { versionWrites } from '../services/library/version-writes.js'
import { ok } from './helpers/answers.js'
import { startServices } from './helpers/backends.js'
import { itemRow } from './helpers/items.js'
import { seededRandom } from './helpers/seeded-random.js'
import { startService } from './helpers/service.js'
import { scale, SEED } from './helpers/test-length.js'

const ROUNDS = scale({ short: 200, long: 10_000, real: 50 })
const MAX_ITEMS = 60
const MINUTE = 60_000

interface Item {
  id: string
  isThere: boolean
  /** A deletion of it has begun. */
  isGoing: boolean
  isGone: boolean
}

t.setTimeout(120_000 + ROUNDS * 100)

t.test('no list misses a write that another instance has acknowledged, and totals are corrected after crashes', async t => {
  const seed = SEED ?? 20261129
  const random = seededRandom(seed)
  const services = await startServices(t)
  const lister = await startService(t, { services, logger: { level: 'silent' } })
  const { token } = await lister.signIn()
  await lister.app.sweeper.sweep() // the first count of the items
  const client = await new MongoClient(services.mongoUri).connect()
  t.teardown(() => client.close())
  const rows = client.db(lister.app.mongo.db!.databaseName).collection<LibraryDocument>('library')
  const states = createLibraryState(lister.app.collections.library_state)
  const writer = versionWrites(rows, {
    async changed (added) {
      await turns()
      if (random() < 0.02 || ++changes === 20) throw new Crash()
      await states.changed(added)
    }
  })
  const items: Item[] = []
  let changes = 0
  let crashes = 0
  let lists = 0

  for (let round = 0; round < ROUNDS; round++) {
    const present = items.filter(({ isThere, isGoing }) => isThere && !isGoing)
    await Promise.all([
      ...times(1 + random() * 3, () => crashing(present.length > MAX_ITEMS * random()
        ? remove(present.splice(random() * present.length, 1)[0]!)
        : add())),
      ...times(1 + random() * 4, () => list())
    ])
  }
  let now = 0
  const check = createTotalCheck({
    states,
    countAll: async () => ({ shown: await rows.countDocuments(), hidden: 0 }),
    log: lister.app.log,
    monotonic: () => now
  })
  for (; now <= MINUTE; now += MINUTE) await check.run(true)
  const { body } = await ok(lister.call('GET', '/library?per_page=100', { token }))
  t.equal(body.total, await rows.countDocuments())
  t.match(await states.read(), { total: body.total })
  t.comment(`${lists} lists in ${ROUNDS} rounds from seed ${seed}, ${crashes} crashes between the two writes`)
  t.ok(crashes > 0)

  async function add (): Promise<void> {
    await turns()
    const row = itemRow(items.length, { type: random() < 0.5 ? 'gif' : 'image' })
    const item = { id: row._id.toHexString(), isThere: false, isGoing: false, isGone: false }
    items.push(item)
    await writer.insertOne(row)
    item.isThere = true
  }

  async function remove (item: Item): Promise<void> {
    await turns()
    item.isGoing = true
    await writer.deleteOne({ _id: new ObjectId(item.id) })
    item.isGone = true
  }

  async function crashing (write: Promise<void>): Promise<void> {
    await write.catch(error => {
      if (!(error instanceof Crash)) throw error
      crashes++
    })
  }

  async function list (): Promise<void> {
    await turns()
    const there = items.filter(({ isThere, isGoing }) => isThere && !isGoing)
    const gone = items.filter(({ isGone }) => isGone)
    const { body } = await ok(lister.call('GET', `/library?per_page=${99 + Math.floor(random() * 2)}`, { token }))
    lists++
    const shown = new Set(body.items.map(({ id }: { id: string }) => id))
    const missed = there.filter(({ id, isGoing }) => !isGoing && !shown.has(id))
    const left = gone.filter(({ id }) => shown.has(id))
    if (missed.length + left.length > 0) {
      throw new Error(`seed ${seed}: a list misses ${missed.length} added items and shows ${left.length} deleted ones`)
    }
    const [least, most] = [there.filter(({ isGoing }) => !isGoing).length, items.length - gone.length]
    if (body.total < least - crashes || body.total > most + crashes) {
      throw new Error(`seed ${seed}: a total of ${body.total} for ${least} to ${most} items after ${crashes} crashes`)
    }
  }

  /** Waits for a few turns of the event loop, so that the requests meet in different orders. */
  async function turns (): Promise<void> {
    for (let left = random() * 12; left > 1; left--) await new Promise(resolve => setImmediate(resolve))
  }
})

class Crash extends Error {}

const times = <T>(count: number, work: () => Promise<T>) => Array.from({ length: Math.floor(count) }, work)
