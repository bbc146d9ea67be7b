import { Decimal128, Long, ObjectId, type Document } from 'mongodb'
import t from 'tap'
import { failure, start } from './mongo-helper.js'

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
