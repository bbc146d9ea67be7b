import { Decimal128, Int32, Long, type Document } from 'mongodb'
import t from 'tap'
import { exact, failure, start } from './mongo-helper.js'

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
