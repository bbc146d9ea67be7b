import fc from 'fast-check'
import { MongoClient, ObjectId, type Filter } from 'mongodb'
import t from 'tap'
import type { LibraryDocument } from '../../../schemas/documents.js'
import { ensureIndexes, NEWEST_FIRST } from '../../../services/database.js'
import { firstBatch } from '../../../services/first-batch.js'
import { conditionsOf } from '../../../services/library/query.js'
import { createSearch, isBeyond, type Place } from '../../../services/library/search.js'
import { startServices } from '../../helpers/backends.js'
import { createdAt, itemRow } from '../../helpers/items.js'
import { scale } from '../../helpers/test-length.js'

const WORDS = ['ant', 'bee', 'cat', 'dog']
const OWNER = new ObjectId()

const { mongoUri } = await startServices(t)
const client = await new MongoClient(mongoUri).connect()
t.teardown(() => client.close())
const db = client.db()
await ensureIndexes(db)
const library = db.collection<LibraryDocument>('library')

/** Follows the windows of a search to the end. */
async function walk (query: Parameters<typeof conditionsOf>[0], maxExamined: number): Promise<string[][]> {
  const windowFrom = createSearch((filter, options) => firstBatch(db, library, filter, options), maxExamined)
  const conditions = conditionsOf(query, OWNER)
  const pages: string[][] = []
  for (let start: Place | undefined; ;) {
    const { filter, end } = await windowFrom(conditions, start)
    const rows = await library.find(filter).sort(NEWEST_FIRST).toArray()
    pages.push(rows.filter(row => !end || !isBeyond(row, end)).map(({ _id }) => _id.toHexString()))
    if (!end) return pages
    if (pages.length > 500) throw new Error('the walk has no end')
    start = end
  }
}

t.test('The windows of a search find every row once, in order, whatever the rows and the bound', async () => {
  const row = fc.record({
    moment: fc.nat({ max: 6 }),
    words: fc.subarray(WORDS),
    type: fc.constantFrom('gif', 'image'),
    isMine: fc.boolean()
  })
  const query = fc.record({
    q: fc.subarray(WORDS, { minLength: 1 }).map(words => words.join(' ')),
    type: fc.constantFrom('gif' as const, undefined),
    mine: fc.boolean()
  }).filter(({ q, type, mine }) => q.includes(' ') || type !== undefined || mine)
  await fc.assert(fc.asyncProperty(
    fc.array(row, { maxLength: 25 }),
    query,
    fc.integer({ min: 1, max: 8 }),
    async (rows, query, maxExamined) => {
      const documents = rows.map(({ moment, words, type, isMine }) =>
        itemRow(moment, { words, type, ...(isMine && { owner: OWNER }) }))
      await library.deleteMany({})
      if (documents.length > 0) await library.insertMany(documents)
      const expected = documents
        .filter(({ words, type, owner }) =>
          query.q.split(' ').every(word => words!.includes(word)) &&
          (query.type === undefined || type === query.type) &&
          (!query.mine || owner === OWNER))
        .sort((a, b) => b.created_at.getTime() - a.created_at.getTime() ||
          b._id.toHexString().localeCompare(a._id.toHexString()))
        .map(({ _id }) => _id.toHexString())
      const found = (await walk(query, maxExamined)).flat()
      if (found.join() !== expected.join()) throw new Error(`found ${found}, not ${expected}`)
    }
  ), { numRuns: scale({ short: 60, long: 2000, real: 20 }) })
})

t.test('A search reads by few conditions, however many words it has', async t => {
  const many = Array.from({ length: 100 }, (_, i) => `${String.fromCodePoint(0x1f600 + i % 60)}${i}x`).join(' ')
  t.ok(conditionsOf({ q: many, mine: true }, OWNER).leads.length <= 4)
  t.same(
    conditionsOf({ q: 'a ab ABC b x' }, OWNER).all,
    [{ words: 'abc' }, { words: 'b' }, { words: 'x' }],
    'a word that begins another one adds nothing'
  )
  t.same(conditionsOf({ q: 'x yyy zz wwww vvvvv' }, OWNER).leads.map(({ words }) => words), ['vvvvv', 'wwww', 'yyy', 'zz'])
})

t.test('A search reads by its rarest word', async t => {
  await library.deleteMany({})
  // the ant is in each, the bee in every third, the cat in the oldest ten
  await library.insertMany(Array.from({ length: 300 }, (_, i) => itemRow(i, {
    words: ['ant', ...(i % 3 === 0 ? ['bee'] : []), ...(i < 10 ? ['cat'] : [])]
  })))
  const windowFrom = createSearch((filter, options) => firstBatch(db, library, filter, options), 50)
  const search = async (q: string) => windowFrom(conditionsOf({ q }, OWNER))
  const leadOf = ({ words }: Filter<LibraryDocument>) => words
  for (const q of ['ant bee', 'bee ant']) {
    const { filter, end } = await search(q)
    t.equal(leadOf(filter), 'bee', q)
    t.same(end?.created_at, createdAt(297 - 49 * 3), 'its 50th row, and no row beyond')
  }
  for (const q of ['ant bee cat', 'cat bee ant']) {
    const { filter, end } = await search(q)
    t.match([leadOf(filter), end], ['cat', undefined], `${q}: all of its rows are in one window`)
  }
})

t.test('A row that is added or deleted between two windows makes no other row come twice or be left out', async t => {
  await library.deleteMany({})
  const rows = Array.from({ length: 40 }, (_, i) => itemRow(i, { words: i % 2 ? ['ant', 'bee'] : ['ant'] }))
  await library.insertMany(rows)
  const windowFrom = createSearch((filter, options) => firstBatch(db, library, filter, options), 7)
  const conditions = conditionsOf({ q: 'ant bee' }, OWNER)
  const found: string[] = []
  let start: Place | undefined
  do {
    const { filter, end } = await windowFrom(conditions, start)
    await library.insertOne(itemRow(1000 + found.length, { words: ['ant', 'bee'] }))
    if (end) await library.deleteOne({ _id: end._id })
    const page = await library.find(filter).sort(NEWEST_FIRST).toArray()
    found.push(...page.filter(row => !end || !isBeyond(row, end)).map(({ _id }) => _id.toHexString()))
    start = end
  } while (start)
  t.equal(new Set(found).size, found.length)
  const left = await library.find({ words: 'bee', created_at: { $lt: createdAt(1000) } }).toArray()
  t.same(left.map(({ _id }) => _id.toHexString()).filter(id => !found.includes(id)), [])
})
