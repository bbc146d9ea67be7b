import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import {
  Decimal128,
  Double,
  Long,
  MongoServerError,
  ObjectId,
  type Collection,
  type CreateIndexesOptions,
  type Document
} from 'mongodb'
import t, { type Test } from 'tap'
import { connect, explained, scratch, start } from './mongo-helper.js'

const codeOf = async (promise: Promise<unknown>): Promise<unknown> => {
  try {
    await promise
    return 'none'
  } catch (error) {
    return error instanceof MongoServerError ? error.code : error
  }
}

t.test('pages, counts and lookups on indexed fields examine only the documents they return', async t => {
  const { db } = await start(t)
  const items = db.collection<Document>('items')
  const total = 6000
  await items.createIndexes([
    { key: { created_at: -1, _id: -1 } },
    { key: { owner: 1, created_at: -1 } },
    { key: { tags: 1 } }
  ])
  await items.insertMany(Array.from({ length: total }, (_none, at) => ({
    _id: at,
    created_at: new Date(Math.floor(at / 3)),
    owner: `user${at % 100}`,
    tags: [`t${at % 1000}`],
    name: `name${at}`
  })) as unknown as Document[])
  const page = { created_at: -1, _id: -1 } as const

  const first = items.find().sort(page).limit(10)
  t.same(await explained(first), {
    stages: ['LIMIT', 'FETCH', 'IXSCAN'],
    index: 'created_at_-1__id_-1',
    docs: 10,
    keys: 10
  })
  const last = (await first.clone().toArray()).at(-1)
  const after = {
    $or: [{ created_at: { $lt: last?.created_at } }, { created_at: last?.created_at, _id: { $lt: last?._id } }]
  }
  const second = items.find(after).sort(page).limit(10)
  t.same(await explained(second), {
    stages: ['LIMIT', 'FETCH', 'IXSCAN'],
    index: 'created_at_-1__id_-1',
    docs: 10,
    keys: 10
  })
  t.same((await second.toArray()).map(({ _id }) => _id), Array.from({ length: 10 }, (_none, at) => total - 11 - at))
  t.ok(
    (await explained(items.find({ $and: [after, { owner: { $ne: 'user7' } }] }).sort(page).limit(10))).docs <= 12,
    'a further filter also examines the documents that it rejects'
  )
  t.same((await explained(items.find().sort({ created_at: 1, _id: 1 }).limit(10))).docs, 10, 'backwards as well')
  t.match(await explained(items.find({ owner: 'user5' }).sort({ created_at: -1 }).limit(10)), {
    index: 'owner_1_created_at_-1',
    docs: 10
  })
  t.match(
    await explained(items.find({ owner: 'user5', created_at: { $gte: new Date(total / 6) } }).sort({ created_at: 1 }).limit(
      10
    )),
    { index: 'owner_1_created_at_-1', docs: 10 }
  )
  t.match(await explained(items.find({ _id: 77 as unknown as ObjectId })), { index: '_id_', docs: 1 })
  t.match(await explained(items.find({ _id: { $in: [1, 2, 3] } as Document })), { index: '_id_', docs: 3 })
  t.match(await explained(items.find({ tags: 't5' }).limit(5)), { index: 'tags_1', docs: 5 })
  t.match(await explained(items.find({ name: 'name5' })), { stages: ['COLLSCAN'], docs: total })
  t.match(await explained(items.find({ created_at: { $type: 'string' } }).sort(page).limit(5)), {
    stages: ['LIMIT', 'FETCH', 'IXSCAN'],
    keys: 0
  })
  t.match(await explained(items.find({ created_at: { $type: ['date', 'null'] } }).sort(page).limit(5)), {
    stages: ['LIMIT', 'FETCH', 'IXSCAN'],
    keys: 5,
    docs: 5
  })
  t.equal((await explained(items.find().skip(20).limit(5).sort(page))).docs, 5)

  t.equal(await items.countDocuments({ owner: 'user5' }), total / 100)
  t.equal(await items.countDocuments({ owner: 'user5' }, { limit: 7 }), 7)
  t.equal(await items.countDocuments({ owner: 'user5', name: /^n/ }, { limit: 7 }), 7)
  t.equal(await items.countDocuments(), total)
})

t.test(
  'an index whose first field holds arrays has the order of its other fields, for one value of the first',
  async t => {
    const { db } = await start(t)
    const items = db.collection<Document>('items')
    await items.createIndexes([{ key: { tags: 1, at: -1, _id: -1 } }, { key: { at: -1, _id: -1 } }])
    const tags = (n: number): string[] => [
      'all', 'all', n % 2 === 0 ? 'even' : 'odd', ...(n % 100 === 0 ? ['round'] : [])
    ]
    await items.insertMany(
      Array.from({ length: 3000 }, (_none, n) => ({
        _id: n,
        at: Math.floor(n / 7),
        tags: tags(n)
      })) as unknown as Document[]
    )
    const page = { at: -1, _id: -1 } as const
    const plan = { stages: ['LIMIT', 'FETCH', 'IXSCAN'], index: 'tags_1_at_-1__id_-1', docs: 10, keys: 10 }
    const ids = async (cursor: {
      toArray: () => Promise<Document[]>
    }): Promise<unknown[]> => (await cursor.toArray()).map(
      ({ _id }) => _id
    )

    for (const { filter, wanted } of [
      { filter: { tags: 'all' }, wanted: 1 },
      { filter: { tags: 'even' }, wanted: 2 },
      { filter: { tags: 'round' }, wanted: 100 }
    ]) {
      const first = items.find(filter).sort(page).limit(10)
      t.same(await explained(first), plan)
      const all = Array.from({ length: 3000 / wanted }, (_none, n) => 3000 - wanted * (n + 1))
      t.same(await ids(first.clone()), all.slice(0, 10))
      const { at, _id } = (await first.clone().toArray()).at(-1)!
      const next = items
        .find({
          $or: [
            { ...filter, at, _id: { $lt: _id } },
            { ...filter, at: { $lt: at } },
            { ...filter, at: { $type: 'null' } }
          ]
        })
        .sort(page)
        .limit(
          10
        )
      t.same(await explained(next), plan)
      t.same(await ids(next.clone()), all.slice(10, 20))
    }
    const both = items.find({ tags: { $all: ['round', 'even'] } }).sort(page).limit(10)
    t.notOk((await explained(both)).stages.includes('SORT'), 'the other value is looked for in the documents')
    t.same(await ids(both.clone()), Array.from({ length: 10 }, (_none, n) => 2900 - 100 * n))
    t.ok(
      (await explained(items.find({ tags: { $in: ['even', 'odd'] } }).sort(page).limit(10))).index !== plan.index,
      'several values are several orders'
    )
    t.ok(
      (await explained(items.find({ tags: 'round' }).sort({ tags: 1 }))).stages.includes('SORT'),
      'members of an array are no order of the arrays'
    )
    t.equal(await items.countDocuments({ tags: 'all' }, { limit: 5 }), 5)
  }
)

t.test('indexes keep their guarantees', async t => {
  const { db } = await start(t)
  const fresh = async (options: CreateIndexesOptions, key: Document = { a: 1 }): Promise<Collection> => {
    const collection = db.collection(new ObjectId().toHexString())
    await collection.createIndex(key as { [field: string]: 1 | -1 }, options)
    return collection
  }

  t.test('unique: compound, multikey, across number types, and for values longer than a key', async t => {
    const compound = await fresh({ unique: true }, { a: 1, b: -1 })
    await compound.insertMany([{ a: 1, b: 1 }, { a: 1, b: 2 }])
    t.equal(await codeOf(compound.insertOne({ a: new Double(1), b: Long.fromNumber(2) })), 11000)
    const multikey = await fresh({ unique: true })
    await multikey.insertOne({ a: [1, 2, 2] })
    t.equal(await codeOf(multikey.insertOne({ a: [3, 2] })), 11000)
    const long = await fresh({ unique: true })
    await long.insertMany(['x', 'y'].map(end => ({ a: 'l'.repeat(5000) + end })))
    t.equal(await codeOf(long.insertOne({ a: 'l'.repeat(5000) + 'y' })), 11000)
    t.equal(await long.countDocuments({ a: 'l'.repeat(5000) + 'y' }), 1)
    t.same((await long.find().sort({ a: -1 }).toArray()).map(({ a }) => a.at(-1)), ['y', 'x'])
    const large = await fresh({ unique: true })
    await large.insertMany(['9007199254740992', '9007199254740993'].map(text => ({ a: Long.fromString(text) })))
    t.equal(await codeOf(large.insertOne({ a: 9007199254740992 })), 11000)
    await large.insertMany(['1.5', '-2.5E-20'].map(text => ({ a: Decimal128.fromString(text) })))
    t.equal(await codeOf(large.insertOne({ a: 1.5 })), 11000)
  })

  t.test('sparse and partial indexes leave documents out, and are not used for queries that need those', async t => {
    const sparse = await fresh({ unique: true, sparse: true })
    await sparse.insertMany([{}, {}, { a: null }])
    t.equal(await codeOf(sparse.insertOne({ a: null })), 11000)
    t.equal(await sparse.countDocuments({ a: null }), 3)
    t.equal((await sparse.find().sort({ a: 1 }).toArray()).length, 3)
    const partial = await fresh({ unique: true, partialFilterExpression: { live: true } })
    await partial.insertMany([{ a: 1 }, { a: 1 }, { a: 1, live: true }])
    t.equal(await codeOf(partial.insertOne({ a: 1, live: true })), 11000)
    t.equal(await codeOf(partial.updateMany({}, { $set: { live: true } })), 11000)
    t.equal(await partial.countDocuments({ a: 1 }), 3)
    t.equal((await explained(partial.find({ a: 1, live: true }))).stages.at(-1), 'IXSCAN')
    t.equal((await explained(partial.find({ a: 1 }))).stages.at(-1), 'COLLSCAN')
  })

  t.test('changes and deletions update the keys', async t => {
    const collection = await fresh({ unique: true })
    await collection.insertOne({ a: 1 })
    await collection.updateOne({ a: 1 }, { $set: { a: 2 } })
    await collection.insertOne({ a: 1 })
    await collection.deleteOne({ a: 2 })
    await collection.insertOne({ a: 2 })
    t.equal(await collection.countDocuments({ a: { $in: [1, 2] } }), 2)
  })

  t.test('indexes are listed, refused and dropped as in MongoDB', async t => {
    const collection = await fresh({ unique: true, name: 'mine' })
    t.same(
      await collection.listIndexes().toArray(),
      [{ v: 2, key: { _id: 1 }, name: '_id_' }, { v: 2, key: { a: 1 }, name: 'mine', unique: true }]
    )
    t.equal(await collection.createIndex({ b: 1, c: -1 }), 'b_1_c_-1')
    t.equal(await collection.createIndex({ a: 1 }, { unique: true, name: 'mine' }), 'mine')
    t.equal(await codeOf(collection.createIndex({ a: 1 }, { unique: true, name: 'other' })), 85)
    t.equal(await codeOf(collection.createIndex({ z: 1 }, { name: 'mine' })), 86)
    t.equal(await codeOf(collection.createIndex({ a: 'text' })), 67)
    t.equal(await codeOf(collection.createIndex({ a: 1 }, { hidden: true })), 197)
    t.equal(await codeOf(collection.createIndex({ a: 1, b: 1 }, { expireAfterSeconds: 5 })), 67)
    t.equal(await codeOf(collection.dropIndex('_id_')), 72)
    t.equal(await codeOf(collection.dropIndex('none')), 27)
    await collection.insertMany([{ d: 1, a: 1 }, { d: 1, a: 2 }])
    t.equal(await codeOf(collection.createIndex({ d: 1 }, { unique: true })), 11000)
    t.notOk(
      (await collection.indexes()).some(({ name }) => name === 'd_1'),
      'an index that cannot be built is not there'
    )
    await collection.dropIndex('mine')
    await collection.insertOne({ a: 1 })
    await collection.createIndex({ x: 1, y: 1 })
    t.equal(await codeOf(collection.insertOne({ x: [1], y: [1] })), 171)
  })
})

t.test('the monitor deletes expired documents, by the server\'s clock', async t => {
  let now = new Date('2030-01-01T00:00:00Z')
  const { db } = await start(t, { now: () => now, ttlIntervalMs: 10 })
  const collection = db.collection('expiring')
  await collection.createIndex({ at: 1 }, { expireAfterSeconds: 60 })
  await collection.insertMany([
    { n: 1, at: now },
    { n: 2, at: [new Date('2031-01-01'), now] },
    { n: 3, at: new Date('2031-01-01') },
    { n: 4, at: 'never' },
    { n: 5 }
  ])
  const gone = async (count: number): Promise<void> => {
    while (await collection.countDocuments() > count) await db.command({ ping: 1 })
  }
  now = new Date('2030-01-01T00:01:00Z')
  await gone(3)
  t.same((await collection.find().toArray()).map(({ n }) => n), [3, 4, 5])
  await collection.dropIndex('at_1')
  await collection.createIndex({ at: 1 }, { expireAfterSeconds: 0 })
  now = new Date('2031-01-01T00:00:00Z')
  await gone(2)
  t.same((await collection.find({ at: { $type: 'date' } }).toArray()), [])
})

async function spawnServer (t: Test, path: string): Promise<{ uri: string, kill: () => Promise<void> }> {
  const child = spawn(
    process.execPath,
    [...process.execArgv, fileURLToPath(new URL('./mongo-child.js', import.meta.url)), path],
    { stdio: ['ignore', 'pipe', 'inherit'] }
  )
  t.teardown(() => { child.kill('SIGKILL') })
  const [line] = await once(child.stdout, 'data') as [Buffer]
  return {
    uri: line.toString().trim(),
    kill: async () => {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
}

t.test('a server killed during writes keeps every acknowledged write, and its indexes agree', async t => {
  const path = scratch(t)
  const first = await spawnServer(t, path)
  const client = await connect(t, first.uri, { retryWrites: false, serverSelectionTimeoutMS: 5000 })
  const collection = client.db('test').collection<Document>('log')
  await collection.createIndexes([{ key: { n: 1 }, unique: true }, { key: { group: 1, n: -1 } }])
  const acknowledged: number[] = []
  const writer = async (from: number): Promise<void> => {
    for (let n = from; ; n += 4) {
      await collection.insertOne({ n, group: n % 3, twin: [n, -n] })
      await collection.updateOne({ n }, { $set: { done: true, group: n % 5 } })
      acknowledged.push(n)
      if (acknowledged.length === 150) return first.kill()
    }
  }
  await Promise.allSettled([0, 1, 2, 3].map(writer))
  await client.close(true)

  const second = await spawnServer(t, path)
  const again = (await connect(t, second.uri)).db('test').collection<Document>('log')
  const documents = await again.find({}, { hint: { _id: 1 } }).toArray()
  const byN = new Map(documents.map(document => [document.n as number, document]))
  t.ok(acknowledged.length >= 150)
  t.same(acknowledged.filter(n => byN.get(n)?.done !== true), [], 'nothing acknowledged is missing')
  t.equal(await again.countDocuments(), documents.length)
  t.same(
    (await again.find({ n: { $gte: 0 } }, { hint: { n: 1 } }).sort({ n: 1 }).toArray()).map(({ n }) => n as number),
    [...byN.keys()].sort((a, b) => a - b)
  )
  for (let group = 0; group < 5; group++) {
    const expected = documents.filter(document => document.group === group).length
    t.equal((await again.find({ group }, { hint: 'group_1_n_-1' }).toArray()).length, expected)
    t.equal(await again.countDocuments({ group }), expected)
  }
  await second.kill()
})
