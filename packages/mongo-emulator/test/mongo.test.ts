import {
  Binary,
  Decimal128,
  Double,
  Int32,
  Long,
  MaxKey,
  MongoBulkWriteError,
  MongoServerError,
  ObjectId,
  Timestamp,
  UUID,
  type Document
} from 'mongodb'
import t from 'tap'
import { start } from './mongo-helper.js'

/** Types as they are on the wire, without the driver's conversions. */
const exact = { promoteValues: false, promoteLongs: false, bsonRegExp: true } as const

const failure = async (promise: Promise<unknown>): Promise<Document> => {
  try {
    await promise
  } catch (error) {
    if (error instanceof MongoServerError) {
      return { code: error.code, codeName: error.codeName, message: error.message, ...error.errorResponse }
    }
    throw error
  }
  return { code: 'none' }
}

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

t.test('queries select what MongoDB selects', async t => {
  const { db } = await start(t)
  const values = [
    1,
    1.5,
    Long.fromNumber(2),
    Decimal128.fromString('2'),
    'abc',
    'ABC',
    null,
    undefined,
    [],
    [1, 2],
    [[1, 2]],
    [null],
    { b: 1 },
    { b: 1, c: 2 },
    [{ b: 1 }, { b: 2 }],
    [{ b: 1, c: 5 }, { c: 2 }],
    true,
    new Date(0),
    ObjectId.createFromHexString('0'.repeat(24)),
    NaN
  ]
  const collection = db.collection<Document>('values')
  await collection.insertMany(values.map((a, _id) => a === undefined ? { _id } as Document : { _id, a } as Document))

  const cases: [Document, number[]][] = [
    [{ a: 1 }, [0, 9]],
    [{ a: 2 }, [2, 3, 9]],
    [{ a: null }, [6, 7, 11]],
    [{ a: { $ne: null } }, [0, 1, 2, 3, 4, 5, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19]],
    [{ a: { $gt: 1 } }, [1, 2, 3, 9]],
    [{ a: { $gte: null } }, [6, 7, 11]],
    [{ a: NaN }, [19]],
    [{ a: { $lt: NaN } }, []],
    [{ a: { $exists: false } }, [7]],
    [{ a: [1, 2] }, [9, 10]],
    [{ a: { $type: ['int', 'double', 'long', 'decimal'] } }, [0, 1, 2, 3, 9, 19]],
    [{ a: { $type: ['date', 'bool'] } }, [16, 17]],
    [{ a: { b: 1 } }, [12, 14]],
    [{ 'a.b': 1 }, [12, 13, 14, 15]],
    [{ 'a.b': { $exists: false } }, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19]],
    [{ 'a.1.b': 2 }, [14]],
    [{ 'a.0': 1 }, [9]],
    [{ a: { $in: [/^a/, 1.5] } }, [1, 4]],
    [{ a: { $nin: [1, null] } }, [1, 2, 3, 4, 5, 8, 10, 12, 13, 14, 15, 16, 17, 18, 19]],
    [{ a: { $regex: 'b' } }, [4]],
    [{ a: /B/i }, [4, 5]],
    [{ a: { $elemMatch: { b: 1, c: 5 } } }, [15]],
    [{ a: { $elemMatch: { $gt: 1, $lt: 3 } } }, [9]],
    [{ a: { $all: [1, 2] } }, [9]],
    [{ a: { $all: ['abc', /^a/] } }, [4]],
    [{ a: { $all: [] } }, []],
    [{ a: { $not: { $gte: 1 } } }, [4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]],
    [{ $or: [{ a: 'abc' }, { a: { $gt: 1, $lt: 2 } }] }, [1, 4, 9]],
    [{ $nor: [{ a: { $exists: true } }] }, [7]],
    [{ $and: [{ a: { $gte: 1 } }, { a: { $lte: 1 } }] }, [0, 9]]
  ]
  for (const [filter, ids] of cases) {
    t.same(
      (await collection.find(filter).sort({ _id: 1 }).toArray()).map(({ _id }) => _id),
      ids,
      JSON.stringify(filter)
    )
  }

  t.test('sorting orders types, and takes the least or greatest member of an array', async t => {
    const ids = async (sort: Document) => (await collection
      .find({}, { projection: { _id: 1 } })
      .sort(sort as { [field: string]: 1 | -1 })
      .toArray()).map(
      ({ _id }) => _id
    )
    t.same(await ids({ a: 1, _id: 1 }), [8, 6, 7, 11, 19, 0, 9, 1, 2, 3, 5, 4, 12, 14, 13, 15, 10, 18, 16, 17])
    t.same((await ids({ a: -1, _id: 1 })).slice(0, 5), [17, 16, 18, 10, 15])
  })

  t.test('bad queries are BadValue in MongoDB\'s words', async t => {
    t.match(await failure(collection.find({ a: { $foo: 1 } }).toArray()), {
      code: 2,
      codeName: 'BadValue',
      message: 'unknown operator: $foo'
    })
    t.match(await failure(collection.find({ $foo: 1 }).toArray()), {
      code: 2,
      message: /^unknown top level operator: \$foo/
    })
    for (const filter of [
      { a: { $in: 1 } },
      { $and: [] },
      { a: { $mod: [2, 1] } },
      { a: { $size: 1 } },
      { a: { $bitsAllSet: 1 } },
      { $expr: { $eq: ['$a', 2] } },
      { a: { $not: 1 } },
      { a: { $type: 'foo' } },
      { a: { $where: '1' } }
    ]) {
      t.equal((await failure(collection.find(filter).toArray())).code, 2, JSON.stringify(filter))
    }
    t.equal((await failure(collection.find({ a: { $regex: '(' } }).toArray())).code, 51091)
    t.match(await failure(collection.find({}, { hint: 'nope' }).toArray()), { code: 2 })
    t.equal((await failure(collection.find({}, { collation: { locale: 'en' } }).toArray())).code, 40415)
  })

  t.test('projections include and exclude', async t => {
    const one = async (projection: Document) => await collection.findOne({ _id: 15 } as Document, { projection })
    t.same(await one({ 'a.b': 1 }), { _id: 15, a: [{ b: 1 }, {}] })
    t.same(await one({ 'a.c': 0 }), { _id: 15, a: [{ b: 1 }, {}] })
    t.same(await one({ _id: 1 }), { _id: 15 })
    t.same(await one({ _id: 0, 'a.b': 1 }), { a: [{ b: 1 }, {}] })
    t.equal((await failure(one({ 'a.$': 1 }))).code, 31325)
    t.match(await failure(one({ n: { $size: '$a' } })), { code: 31325, message: 'Unknown expression n: $size' })
    t.equal((await failure(one({ a: 1, b: 0 }))).code, 31254)
    t.equal((await failure(one({ a: 0, b: 1 }))).code, 31254)
    t.equal((await failure(one({ a: 1, 'a.b': 1 }))).code, 31250)
  })
})

t.test('updates change what they name and nothing else', async t => {
  const { db } = await start(t)
  const collection = db.collection<Document>('updates')
  const after = async (before: Document, update: Document | Document[], options: Document = {}): Promise<
    | Document
    | null> => {
    const { filter = {}, ...rest } = options
    await collection.deleteMany({})
    await collection.insertOne({ _id: 1, ...before } as Document)
    await collection.updateOne(filter as Document, update as Document, rest)
    return await collection.findOne({ _id: 1 } as Document, { ...exact, projection: { _id: 0 } })
  }
  const cases: [Document, Document | Document[], Document, Document?][] = [
    [{ a: 1 }, { $set: { 'b.c': 'x' } }, { a: 1, b: { c: 'x' } }],
    [{}, { $set: { c: 1, a: 1, b: 1 } }, { a: 1, b: 1, c: 1 }],
    [{ a: 1, b: 2 }, { $unset: { a: 1 } }, { b: 2 }],
    [{ a: [1, 2] }, { $unset: { 'a.0': 1 } }, { a: [null, 2] }],
    [{ a: 3 }, { $min: { a: 2 }, $max: { b: 1 } }, { a: 2, b: 1 }],
    [{ a: [1, 2] }, { $push: { a: 3 } }, { a: [1, 2, 3] }],
    [{ a: [3, 1] }, { $push: { a: { $each: [2], $slice: 2 } } }, { a: [3, 1] }],
    [{ a: [3, 1] }, { $push: { a: { $each: [2], $slice: -2 } } }, { a: [1, 2] }],
    [{}, { $push: { a: { $each: [2] } } }, { a: [2] }],
    [{ a: [1, 2, 1] }, { $pull: { a: 1 } }, { a: [2] }],
    [{ a: [1, 2, 3] }, { $pull: { a: { $gt: 1 } } }, { a: [1] }],
    [{ a: [{ x: 1, y: 1 }, { x: 2 }] }, { $pull: { a: { x: 1 } } }, { a: [{ x: 2 }] }],
    [{ a: [1, 2, 3] }, { $set: { 'a.$': 9 } }, { a: [1, 9, 3] }, { filter: { a: 2 } }],
    [{ a: [{ b: 1 }, { b: 2 }] }, { $set: { 'a.$.b': 3 } }, { a: [{ b: 1 }, { b: 3 }] }, {
      filter: { a: { $elemMatch: { b: 2 } } }
    }],
    [{ a: [1] }, { $set: { 'a.3': 4 } }, { a: [1, null, null, 4] }],
    [{ a: 2 }, [{ $replaceWith: { b: { $add: ['$a', 1] } } }], { b: 3 }],
    [{ a: 2 }, [{ $replaceWith: { $cond: [{ $lte: ['$a', 1] }, { b: 1 }, '$$ROOT'] } }], { a: 2 }]
  ]
  for (const [before, update, expected, options] of cases) {
    t.strictSame(JSON.stringify(await after(before, update, options)), JSON.stringify(expected), JSON.stringify(update))
  }

  t.test('numbers are promoted, never rounded silently', async t => {
    const type = async (before: unknown, by: unknown) => {
      const changed = await after({ a: before }, { $inc: { a: by } })
      return `${changed?.a._bsontype ?? typeof changed?.a} ${String(changed?.a)}`
    }
    t.equal(await type(2_147_483_647, 1), 'Long 2147483648')
    t.equal(await type(new Int32(1), new Int32(1)), 'Int32 2')
    t.equal(await type(Long.fromNumber(1), new Int32(1)), 'Long 2')
    t.equal(await type(1, 0.5), 'Double 1.5')
    t.equal((await failure(type(Decimal128.fromString('1.1'), 1))).code, 2, 'decimals are not added')
    t.equal((await failure(type(Long.MAX_VALUE, 1))).code, 2)
  })

  t.test('an update that changes nothing modifies nothing', async t => {
    await collection.deleteMany({})
    await collection.insertMany([{ _id: 1, a: 1 }, { _id: 2, a: 2 }] as Document[])
    t.match(await collection.updateMany({}, { $set: { a: 1 } }), { matchedCount: 2, modifiedCount: 1 })
    t.match(await collection.replaceOne({ a: 1 }, { a: 1 }), { matchedCount: 1, modifiedCount: 0 })
  })

  t.test('upserts take the equalities of the filter', async t => {
    await collection.deleteMany({})
    const { upsertedId } = await collection.updateOne(
      { _id: 7, $and: [{ x: 1 }, { 'y.z': { $eq: 2 } }], n: { $gt: 5 } } as Document,
      { $set: { b: 1 }, $setOnInsert: { c: 1 } },
      { upsert: true }
    )
    t.equal(upsertedId as unknown, 7)
    t.same(await collection.findOne({}), { _id: 7, x: 1, y: { z: 2 }, b: 1, c: 1 })
    await collection.updateOne({ x: 1 }, { $setOnInsert: { c: 9 } }, { upsert: true })
    t.equal((await collection.findOne({}))?.c, 1)
    await collection.replaceOne({ q: 1 }, { r: 1 }, { upsert: true })
    t.same(await collection.findOne({ r: 1 }, { projection: { _id: 0 } }), { r: 1 })
  })

  t.test('errors carry MongoDB\'s codes', async t => {
    const code = async (before: Document, update: Document, options?: Document) => (await failure(after(
      before,
      update,
      options
    ))).code
    t.equal(await code({ a: 1 }, { $set: { a: 1 }, $inc: { a: 1 } }), 40)
    t.equal(await code({ a: 1 }, { $set: { a: 1, 'a.b': 1 } }), 40)
    t.equal(await code({ a: 1 }, { $set: { _id: 2 } }), 66)
    t.equal(await code({ a: 'x' }, { $inc: { a: 1 } }), 14)
    t.equal(await code({ a: 1 }, { $set: { 'a.b': 1 } }), 28)
    for (const name of ['$foo', '$mul', '$bit', '$rename', '$addToSet', '$pop', '$currentDate']) {
      t.equal(await code({ a: 1 }, { [name]: { a: 1 } }), 9, name)
    }
    t.equal(await code({ a: [] }, { $push: { a: { $each: [], $sort: 1 } } }), 2)
    t.equal(await code({ a: 1 }, { $set: { b: 1 } }, { arrayFilters: [{ x: 1 }] }), 40415)
    t.equal(await code({ a: 1 }, { $push: { a: 1 } }), 2)
    t.equal(await code({ a: [1] }, { $set: { 'a.$': 1 } }), 2)
    t.equal(await code({ a: [1] }, { $set: { 'a.$[x]': 1 } }), 28)
    t.equal(await code({ a: 1 }, { $set: { 'a..b': 1 } }), 56)
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
    t.equal((await failure(counters.findOneAndDelete({}))).code, 9)
  })

  t.test('increments of many clients are all counted', async t => {
    await db.collection('counter').insertOne({ n: 0 })
    await Promise.all(Array.from({ length: 50 }, async () =>
      await db.collection('counter').updateOne({}, { $inc: { n: 1 } })))
    t.equal((await db.collection('counter').findOne())?.n, 50)
  })
})

t.test('pipelines', async t => {
  const { db } = await start(t)
  const at = new Date(1e12)
  await db.collection<Document>('orders').insertMany([
    { _id: 1, who: 'a', parts: [{ bytes: 3 }, { bytes: 4 }, {}], sum: 5, at },
    { _id: 2, who: 'b', parts: [{ bytes: 1 }], sum: 2.5, at },
    { _id: 3, who: 'a', sum: Long.fromNumber(1), at }
  ] as Document[])
  const run = async (...pipeline: Document[]) => await db.collection('orders').aggregate(pipeline).toArray()
  t.same(
    await run({
      $group: { _id: '$who', n: { $sum: 1 }, total: { $sum: '$sum' }, least: { $min: '$_id' }, most: { $max: '$_id' } }
    }),
    [{ _id: 'a', n: 2, total: 6, least: 1, most: 3 }, { _id: 'b', n: 1, total: 2.5, least: 2, most: 2 }]
  )
  t.same(
    await run({ $group: { _id: '$who', n: { $sum: 1 } } }, { $match: { n: { $gt: 1 } } }, { $limit: 1 }),
    [{ _id: 'a', n: 2 }]
  )
  const parts = {
    $reduce: {
      input: { $ifNull: ['$parts', []] },
      initialValue: { $ifNull: ['$none', 1] },
      in: { $add: ['$$value', '$$this.bytes'] }
    }
  }
  t.same(await run({ $match: { _id: { $ne: 1 } } }, { $group: { _id: null, n: { $sum: parts } } }), [
    { _id: null, n: 3 }
  ])
  const value = async (expression: unknown) =>
    (await run({ $match: { _id: 1 } }, { $replaceWith: { it: expression } }))[0]?.it
  t.same(await value({ $add: ['$at', 1000] }), new Date(1e12 + 1000))
  t.equal(await value({ $toLong: '$at' }), 1e12)
  t.equal(await value({ $lte: [{ $toLong: '$none' }, { $toLong: '$$NOW' }] }), true, 'null is less')
  t.equal(await value({ $or: [false, { $eq: ['$who', { $literal: 'a' }] }] }), true)
  t.equal(await value({ $literal: '$who' }), '$who')
  t.equal(await value({ $cond: [{ $eq: ['$$ROOT.who', 'b'] }, 1, 2] }), 2)
  t.equal(await value({ $reduce: { input: null, initialValue: 0, in: 1 } }), null)

  for (const stage of ['$nope', '$lookup', '$unwind', '$facet', '$sort', '$project', '$set', '$changeStream']) {
    t.match(await failure(run({ [stage]: {} })), {
      code: 40324,
      message: `Unrecognized pipeline stage name: '${stage}'`
    })
  }
  t.equal((await failure(run({ $replaceWith: { a: '$$nope' } }))).code, 17276)
  for (const name of ['$nope', '$multiply', '$dateToString', '$toUpper', '$map']) {
    t.match(await failure(run({ $replaceWith: { a: { [name]: 1 } } })), {
      code: 168,
      message: `Unrecognized expression '${name}'`
    })
  }
  t.equal((await failure(run({ $group: { _id: 1, a: { $push: 1 } } }))).code, 15952)
  t.equal((await failure(db.aggregate([{ $documents: [] }]).toArray())).code, 73)
  t.equal(await db.collection('orders').countDocuments({ sum: { $gt: 1 } }), 2)
  t.equal(await db.collection('orders').countDocuments({}, { limit: 2, hint: { _id: 1 } }), 2)
})

t.test('cursors', async t => {
  const { db } = await start(t)
  const collection = db.collection<Document>('many')
  await collection.insertMany(Array.from({ length: 250 }, (_none, _id) => ({ _id })) as unknown as Document[])
  t.equal((await collection.find().batchSize(7).toArray()).length, 250)
  t.equal((await db.command({ find: 'many' })).cursor.firstBatch.length, 101)
  t.equal((await collection.find().limit(5).batchSize(2).toArray()).length, 5)
  t.equal((await collection.find().limit(-5).toArray()).length, 5)
  t.match(await db.command({ find: 'many', batchSize: 2, singleBatch: true }), { cursor: { id: 0 } })
  const { cursor } = await db.command({ find: 'many', batchSize: 2 }, { promoteLongs: false })
  t.equal(String((await db.command({ killCursors: 'many', cursors: [cursor.id] })).cursorsKilled), String(cursor.id))
  t.match(await failure(db.command({ getMore: cursor.id, collection: 'many' })), {
    code: 43,
    codeName: 'CursorNotFound'
  })
  t.equal((await failure(collection.find({}, { tailable: true }).toArray())).code, 40415)
  await db.collection('large').insertMany(Array.from({ length: 5 }, () => ({ filler: 'x'.repeat(4_000_000) })))
  t.equal((await db.command({ find: 'large' })).cursor.firstBatch.length, 4, 'a batch is no larger than 16 MB')
  t.equal((await db.collection('large').find().toArray()).length, 5)
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
