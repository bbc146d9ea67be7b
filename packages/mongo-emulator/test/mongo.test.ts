import {
  Binary, Decimal128, Double, Int32, Long, MaxKey, MongoBulkWriteError, ObjectId, Timestamp, UUID, type Document
} from 'mongodb'
import t from 'tap'
import { exact, failure, start } from './mongo-helper.js'

t.test('documents come back as they were sent', async t => {
  const { db } = await start(t)
  const things = db.collection<Document>('things')

  t.test('every BSON type, and the order of fields', async t => {
    const document = {
      _id: new ObjectId(),
      double: new Double(1),
      int: new Int32(1),
      long: Long.fromString('9007199254740993'),
      decimal: Decimal128.fromString('1.10'),
      10: new Int32(1),
      2: new Int32(2),
      string: 'ä\u{1F600}\0x',
      date: new Date(-1),
      bytes: new Binary(Buffer.from('abc'), 5),
      uuid: new UUID('01234567-89ab-4def-8123-456789abcdef'),
      timestamp: new Timestamp({ t: 4_294_967_295, i: 7 }),
      regex: /^a/i,
      nothing: null,
      list: [new Int32(1), [new Int32(2)], { a: true }]
    }
    await things.insertOne(document)
    const found = await things.findOne({ _id: document._id }, exact)
    t.equal(found?.double._bsontype, 'Double')
    t.equal(found?.int._bsontype, 'Int32')
    t.equal(found?.long.toString(), '9007199254740993')
    t.equal(found?.decimal.toString(), '1.10')
    t.equal(found?.string, document.string)
    t.same(found?.uuid, document.uuid)
    t.equal(found?.timestamp.toString(), document.timestamp.toString())
    await things.updateOne({ _id: document._id }, { $set: { extra: 1 } })
    const changed = await things.findOne({ _id: document._id }, exact)
    t.equal(changed?.double._bsontype, 'Double', 'an update leaves the types of other fields alone')
    t.same(Object.keys(changed ?? {}), [...Object.keys(found ?? {}), 'extra'])
  })

  t.test('integer-like names keep their place', async t => {
    await things.insertOne({ _id: 'map', fields: new Map([['10', 1], ['2', 1]]) } as Document)
    const [raw] = await things.find({ _id: 'map' } as Document, { raw: true }).toArray()
    const bytes = raw as unknown as Buffer
    t.ok(bytes.indexOf('10\0') > 0 && bytes.indexOf('10\0') < bytes.indexOf('\x102\0'))
  })

  t.test('types that the service does not store are refused, and the connection goes on', async t => {
    t.equal((await failure(things.insertOne({ value: new MaxKey() }))).code, 2)
    t.equal((await db.command({ ping: 1 })).ok, 1)
  })

  t.test('a missing _id is made, and some types are refused as _id', async t => {
    await db.command({ insert: 'made', documents: [{ a: 1 }] })
    const [made] = await db.collection('made').find().toArray()
    t.same(Object.keys(made ?? {}), ['_id', 'a'])
    for (const _id of [[1], /x/]) t.equal((await failure(things.insertOne({ _id } as Document))).code, 53)
  })

  t.test('too large and too deep are errors, not crashes', async t => {
    t.equal((await failure(things.insertOne({ big: 'x'.repeat(16 * 1024 * 1024 - 10) }))).code, 10334)
    let deep: Document = {}
    for (let level = 0; level < 250; level++) deep = { deep }
    t.equal((await failure(things.insertOne(deep))).code, 15)
    t.equal((await db.command({ ping: 1 })).ok, 1)
  })
})

t.test('writes answer statement by statement', async t => {
  const { db } = await start(t)
  const collection = db.collection<Document>('writes')
  await collection.createIndex({ email: 1 }, { unique: true })

  t.test('a duplicate names its index, pattern and value', async t => {
    await collection.insertOne({ email: 'a@b' })
    t.match(await failure(collection.insertOne({ email: 'a@b' })), {
      code: 11000,
      message: 'E11000 duplicate key error collection: test.writes index: email_1 dup key: { email: "a@b" }',
      keyPattern: { email: 1 },
      keyValue: { email: 'a@b' }
    })
    await collection.insertOne({ x: 1 })
    t.match(
      await failure(collection.insertOne({ x: 2 })),
      { code: 11000, keyValue: { email: null } },
      'a missing field counts as null'
    )
    t.equal((await failure(collection.updateOne({ x: 1 }, { $set: { email: 'a@b' } }))).code, 11000)
    t.equal(await collection.countDocuments({ email: 'a@b' }), 1)
  })

  t.test('ordered batches stop at the first error, unordered ones go on', async t => {
    const batch = (name: string): Document[] => [{ email: `${name}1` }, { email: 'a@b' }, { email: `${name}2` }]
    const ordered = await collection.insertMany(batch('o')).catch((error: unknown) => error)
    t.ok(ordered instanceof MongoBulkWriteError && ordered.insertedCount === 1)
    const unordered = await collection.insertMany(batch('u'), { ordered: false }).catch((error: unknown) => error)
    t.ok(unordered instanceof MongoBulkWriteError && unordered.insertedCount === 2)
    t.match((unordered as MongoBulkWriteError).writeErrors, [{ index: 1, code: 11000 }])
  })

  t.test('bulkWrite mixes operations, and w: 0 is not answered but done', async t => {
    const result = await collection.bulkWrite([
      { insertOne: { document: { email: 'b', n: 1 } } },
      { updateOne: { filter: { email: 'b' }, update: { $inc: { n: 1 } } } },
      { updateOne: { filter: { email: 'c' }, update: { $set: { n: 5 } }, upsert: true } },
      { deleteOne: { filter: { email: 'a@b' } } }
    ])
    t.match(result, { insertedCount: 1, modifiedCount: 1, upsertedCount: 1, deletedCount: 1 })
    t.equal((await collection.insertOne({ email: 'unacknowledged' }, { writeConcern: { w: 0 } })).acknowledged, false)
    t.equal(await collection.countDocuments({ email: 'unacknowledged' }), 1)
  })

  t.test('findAndModify answers with the document before or after', async t => {
    const counters = db.collection<{ _id: string, n: number }>('counters')
    t.equal(await counters.findOneAndUpdate({ _id: 'a' }, { $inc: { n: 1 } }, { upsert: true }), null)
    t.same(await counters.findOneAndUpdate({ _id: 'a' }, { $inc: { n: 1 } }, { returnDocument: 'after' }), {
      _id: 'a',
      n: 2
    })
    t.match(
      await db.command({
        findAndModify: 'counters',
        query: { _id: 'z' },
        update: { $set: { n: 1 } },
        upsert: true,
        new: true
      }),
      { lastErrorObject: { n: 1, updatedExisting: false, upserted: 'z' }, value: { _id: 'z', n: 1 } }
    )
    t.match(await db.command({ findAndModify: 'none', query: { _id: 'none' }, update: { n: 1 } }), {
      lastErrorObject: { n: 0, updatedExisting: false },
      value: null
    })
  })

  t.test('increments of many clients are all counted', async t => {
    await db.collection('counter').insertOne({ n: 0 })
    await Promise.all(Array.from({ length: 50 }, async () =>
      await db.collection('counter').updateOne({}, { $inc: { n: 1 } })))
    t.equal((await db.collection('counter').findOne())?.n, 50)
  })
})

t.test('collections and databases', async t => {
  const { db } = await start(t)
  await db.collection('one').insertOne({})
  await db.collection('full').insertOne({})
  t.same((await db.listCollections().toArray()).map(({ name }) => name).sort(), ['full', 'one'])
  t.same(
    (await db.listCollections({ name: 'full' }, { nameOnly: true }).toArray()),
    [{ name: 'full', type: 'collection' }]
  )
  await db.collection('absent').updateOne({}, { $set: { a: 1 } })
  await db.collection('absent').deleteOne({})
  t.equal((await db.listCollections().toArray()).length, 2, 'only what inserts makes a collection')
  t.equal(await db.collection('full').countDocuments(), 1)
  await db.collection('full').drop()
  t.equal(await db.collection('full').countDocuments(), 0)
  await db.dropDatabase()
  t.same(await db.listCollections().toArray(), [])
  for (const name of ['nope', 'count', 'create', 'distinct', 'renameCollection', 'collMod', 'listDatabases', 'buildInfo']) {
    t.match(await failure(db.command({ [name]: 1 })), {
      code: 59,
      codeName: 'CommandNotFound',
      message: `no such command: '${name}'`
    })
  }
  t.match(await failure(db.command({ find: 'x', nope: 1 })), {
    code: 40415,
    message: "BSON field 'find.nope' is an unknown field."
  })
  t.equal((await failure(db.command({ explain: { count: 'x' } }))).code, 59)
})
