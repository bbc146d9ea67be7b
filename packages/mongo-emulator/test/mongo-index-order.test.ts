import fc from 'fast-check'
import { Decimal128, Double, Int32, Long, ObjectId, type Document } from 'mongodb'
import t from 'tap'
import { start } from './mongo-helper.js'

t.test('a range in a descending index has the least values of its type', async t => {
  const { db } = await start(t)
  const collection = db.collection<Document>('least')
  await collection.createIndex({ v: -1 })
  const values: unknown[] = [
    '',
    'a',
    'ab',
    '\0',
    {},
    { a: 1 },
    false,
    true,
    new ObjectId('0'.repeat(24)),
    new ObjectId('1'.repeat(24)),
    new Date(-8.64e15),
    new Date(0),
    -Infinity,
    -1,
    0
  ]
  await collection.insertMany(values.map(v => ({ v })))
  for (const greatest of ['b', { b: 1 }, true, new ObjectId('f'.repeat(24)), new Date(8.64e15), Infinity]) {
    const filter = { v: { $lte: greatest } } as Document
    const inOrder = async (hint: Document): Promise<string[]> => (await collection.find(filter, { hint }).toArray())
      .map(({ v }) => JSON.stringify(v))
      .sort()
    t.same(await inOrder({ v: -1 }), await inOrder({ _id: 1 }), JSON.stringify(greatest))
  }
  t.equal((await collection.find({ v: /^a/ }, { hint: { v: -1 } }).toArray()).length, 2)
})

t.test('an index changes how a query is answered, never the answer', async t => {
  const { db } = await start(t)
  const scalar = fc.oneof(
    fc.constantFrom<unknown>(
      null,
      true,
      false,
      new Int32(1),
      new Double(1),
      new Double(1.5),
      Long.fromNumber(2),
      Decimal128.fromString('1.5'),
      new Date(0),
      '',
      'a',
      'ab',
      'b'
    ),
    fc.integer({ min: -3, max: 3 }).map(value => new Int32(value))
  )
  const value = fc.oneof(
    { weight: 4, arbitrary: scalar },
    fc.array(scalar, { maxLength: 3 }),
    fc.record({ x: scalar }),
    fc.array(fc.record({ x: scalar }), { maxLength: 2 })
  )
  const document = fc.record({ a: value, b: value, c: scalar }, { requiredKeys: [] })
  const condition = fc.oneof(
    scalar,
    fc.tuple(fc.constantFrom('$gt', '$gte', '$lt', '$lte', '$eq', '$ne'), scalar).map(([operator, operand]) => ({
      [operator]: operand
    })),
    fc.array(scalar, { maxLength: 3 }).map(list => ({ $in: list })),
    fc.tuple(scalar, scalar).map(([low, high]) => ({ $gte: low, $lt: high })),
    fc.constantFrom<unknown>(
      { $exists: true },
      { $exists: false },
      /^a/,
      [],
      { $type: 'array' },
      { $type: ['int', 'double'] },
      { $type: ['null', 'string', 'date'] },
      { $type: 'object' },
      { $all: ['a', 'ab'] }
    )
  )
  const field = fc.constantFrom('a', 'b', 'c', 'a.x', 'b.x')
  const simple = fc.array(fc.tuple(field, condition), { minLength: 1, maxLength: 3 }).map(entries =>
    Object.fromEntries(entries) as Document)
  const filter = fc.oneof(
    simple,
    fc.tuple(simple, fc.array(simple, { minLength: 1, maxLength: 2 })).map(([all, any]) => ({ ...all, $or: any }))
  )
  const sort = fc.constantFrom<Document>(
    {},
    { a: 1 },
    { a: -1 },
    { a: 1, b: -1 },
    { a: -1, b: 1 },
    { c: 1 },
    { c: -1, a: 1 },
    { 'a.x': 1 }
  )
  const keys: Document[] = [{ a: 1 }, { a: 1, b: -1 }, { c: -1, a: 1 }, { 'a.x': 1, c: 1 }]

  await fc.assert(
    fc.asyncProperty(
      fc.array(document, { maxLength: 25 }),
      fc.array(fc.tuple(filter, sort), { minLength: 5, maxLength: 8 }),
      async (documents, queries) => {
        const [plain, indexed] = [db.collection('plain'), db.collection('indexed')]
        await Promise.all([plain.drop(), indexed.drop()])
        const accepted = documents.map((doc, _id) => ({ _id, ...doc })) as unknown as Document[]
        for (const key of keys) await indexed.createIndex(key as { [field: string]: 1 | -1 })
        await indexed.insertMany([{ _id: -1 } as Document, ...accepted], { ordered: false }).catch(() => {})
        const stored = await indexed.find({}, { promoteValues: false, hint: { _id: 1 } }).toArray()
        await plain.insertMany(stored)
        for (const [filter, sort] of queries) {
          const order = { ...sort, _id: 1 } as { [field: string]: 1 | -1 }
          const found = await plain.find(filter, { hint: { _id: 1 } }).sort(order).toArray()
          const expected = found.map(({ _id }) => _id)
          t.strictSame((await indexed.find(filter).sort(order).toArray()).map(({ _id }) => _id), expected)
          for (const hint of keys) {
            t.strictSame((await indexed.find(filter, { hint }).sort(order).toArray()).map(({ _id }) => _id), expected)
          }
          if (await indexed.countDocuments(filter) !== expected.length) {
            throw new Error(`count of ${JSON.stringify(filter)}`)
          }
          const paged = await indexed.find(filter).sort(sort as { [field: string]: 1 | -1 }).limit(3).toArray()
          if (paged.length !== Math.min(3, expected.length)) throw new Error(`limit of ${JSON.stringify(filter)}`)
        }
        return t.passing()
      }
    ),
    { seed: 20240607, numRuns: 12 }
  )
})

t.test('an index orders values as the manual says', async t => {
  const { db } = await start(t)
  const rank = (value: unknown): number => [
    value === null,
    typeof value === 'number' || value instanceof Long || value instanceof Decimal128,
    typeof value === 'string',
    value instanceof ObjectId,
    typeof value === 'boolean',
    value instanceof Date
  ].indexOf(true)
  const compare = (a: unknown, b: unknown): number => {
    if (rank(a) !== rank(b)) return rank(a) - rank(b)
    if (typeof a === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(String(b)))
    if (a instanceof ObjectId) return Buffer.compare(a.id, (b as ObjectId).id)
    if (rank(a) === 1) {
      const [x, y] = [scaled(a), scaled(b)]
      return x < y ? -1 : x > y ? 1 : 0
    }
    return Number(a) - Number(b)
  }
  /** Thousandths of a number, exactly. */
  const scaled = (value: unknown): bigint => {
    const text = value instanceof Long || value instanceof Decimal128 ? value.toString() : String(value)
    const [whole = '', fraction = ''] = text.split('.')
    return BigInt(whole + fraction.padEnd(3, '0'))
  }
  const scalar = fc.oneof(
    fc.constant(null),
    fc.boolean(),
    fc.string({ unit: 'grapheme' }),
    fc.string({ unit: fc.constantFrom('a', '\0', '\u{1F600}', '\uffee') }),
    fc.integer(), fc.integer({ min: -4000, max: 4000 }).map(value => value / 8),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(value => Long.fromBigInt(value)),
    fc.bigInt({ min: 2n ** 53n - 3n, max: 2n ** 53n + 3n }).map(value => Long.fromBigInt(value)),
    fc.integer({ min: -5000, max: 5000 }).map(value => Decimal128.fromString(`${(value / 1000).toFixed(3)}`)),
    fc.date({ noInvalidDate: true }), fc.uint8Array({ minLength: 12, maxLength: 12 }).map(bytes => new ObjectId(bytes))
  )
  await fc.assert(fc.asyncProperty(fc.array(scalar, { maxLength: 60 }), async values => {
    const collection = db.collection('ordered')
    await collection.drop()
    await collection.createIndexes([{ key: { v: 1 } }, { key: { v: -1, w: 1 } }])
    await collection.insertMany([{ v: null }, ...values.map(v => ({ v }))])
    const read = async (sort: Document, hint: Document) => (await collection
      .find({}, { hint, promoteLongs: false })
      .sort(sort as { [field: string]: 1 | -1 })
      .toArray()).map(
      ({ v }) => v as unknown
    )
    const expected = [null, ...values].sort(compare)
    const check = (found: unknown[], wanted: unknown[]) => {
      found.forEach((value, at) => {
        if (compare(value, wanted[at]) !== 0) throw new Error(`${String(value)} in place of ${String(wanted[at])}`)
      })
    }
    check(await read({ v: 1 }, { v: 1 }), expected)
    check(await read({ v: 1 }, { v: -1, w: 1 }), expected)
    check(await read({ v: -1 }, { v: 1 }), [...expected].reverse())
  }), { seed: 7, numRuns: 25 })
})
