import fc from 'fast-check'
import { ObjectId } from 'mongodb'
import t from 'tap'
import type { LibraryDocument } from '../../schemas/documents.js'
import { accountOf, freshPhone, insertRows } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { createdAt, itemRow } from '../helpers/items.js'
import { idsOf, walk } from '../helpers/library-pages.js'
import { startService } from '../helpers/service.js'
import { scale } from '../helpers/test-length.js'

t.test('GET /library, filters and cursors', async t => {
  const service = await startService(t)
  const { token, phone } = await service.signIn()
  const owner = await accountOf(service.app, phone)
  const list = (query = '', as = token) => service.call('GET', `/library${query}`, { token: as })
  await service.app.sweeper.sweep() // the first count of the items
  const rows = service.app.collections.library
  t.beforeEach(async () => { await rows.deleteMany({}) })

  t.test('Each filter finds what is stored, and several filters must all match', async t => {
    const stranger = await service.signIn()
    const other = await accountOf(service.app, stranger.phone)
    const stored = [
      itemRow(9, { owner, type: 'gif', category: 'Cats & Dogs', user_id: 'मीरा', title: 'Dancing fox' }),
      itemRow(8, { owner, type: 'image', category: 'Images', user_id: 'meera' }),
      itemRow(7, { owner: other, type: 'gif', category: 'cats & dogs', user_id: 'मीरा', title: 'The quick brown fox' }),
      itemRow(6, { type: 'gif', category: 'GIF', user_id: 'u' })
    ]
    await rows.insertMany(stored)
    await rows.insertOne(
      { _id: new ObjectId(), url: 'https://old.example.com/a.gif', created_at: createdAt(5) } as LibraryDocument
    )
    const found = async (query: string, as = token) => {
      const { status, body } = await list(query, as)
      t.match({ status, body }, {
        status: 200,
        body: { total: body.items.length, total_exact: true, next_cursor: null }
      })
      return idsOf(body).map(id => stored.findIndex(({ _id }) => _id.toHexString() === id))
    }
    t.same(await found('?type=gif'), [0, 2, 3], 'a row without a stored type is of none')
    t.same(await found('?type=image'), [1])
    t.same(await found(`?category=${encodeURIComponent('Cats & Dogs')}`), [0])
    t.same(await found(`?user_id=${encodeURIComponent('मीरा')}`), [0, 2])
    t.same(await found('?mine=true'), [0, 1])
    t.same(await found('?mine=true', stranger.token), [2])
    t.same(await found('?mine=true', await service.tokenFor(freshPhone())), [])
    t.same(await found('?mine=false'), [0, 1, 2, 3, -1])
    t.same(await found('?mine=true&type=gif'), [0])
    t.same(
      await found(
        `?type=gif&q=FOX&user_id=${encodeURIComponent('मीरा')}&category=${encodeURIComponent('cats & dogs')}&unknown=1&owner=x`
      ),
      [2]
    )
    t.same(await found('?category=%24ne&user_id=u'), [])
  })

  t.test('An invalid filter, or one that is given twice, is 400 and says why', async t => {
    const long = 'x'.repeat(256)
    const bad: Array<[query: string, errors: object]> = [
      ['type=', { type: ['Must be one of: gif, image.'] }],
      ['type=GIF', { type: ['Must be one of: gif, image.'] }],
      ['type=gif&type=gif', { type: ['Not a valid string.'] }],
      ['type[$ne]=gif', { type: ['Not a valid string.'] }],
      ['mine=1', { mine: ['Not a valid boolean.'] }],
      ['mine=', { mine: ['Not a valid boolean.'] }],
      ['mine=TRUE', { mine: ['Not a valid boolean.'] }],
      ['mine=true&mine=true', { mine: ['Not a valid boolean.'] }],
      ['category=', { category: ['Length must be between 1 and 255.'] }],
      ['user_id=', { user_id: ['Length must be between 1 and 255.'] }],
      ...[['category', 1], ['user_id', 1], ['q', 0]].flatMap(([name, least]): Array<[string, object]> => [
        [`${name}=${long}`, { [name!]: [`Length must be between ${least} and 255.`] }],
        [`${name}=a&${name}=b`, { [name!]: ['Not a valid string.'] }],
        [`${name}[]=a`, { [name!]: ['Not a valid string.'] }],
        [`${name}[$gt]=`, { [name!]: ['Not a valid string.'] }]
      ]),
      ['cursor=&type=x&mine=y', { type: ['Must be one of: gif, image.'], mine: ['Not a valid boolean.'] }]
    ]
    for (const [query, errors] of bad) {
      t.same(
        await list(`?${query}`).then(({ status, body }) => ({ status, body })),
        { status: 400, body: { errors } },
        query
      )
    }
    t.equal(
      (await list(`?category=${encodeURIComponent('😀'.repeat(255))}`)).status,
      200,
      'characters are counted, not their parts'
    )
  })

  t.test('Pages, cursors and totals are those of a list in memory', async t => {
    const label = fc.constantFrom('a', 'b', 'c')
    const stored = fc.record({
      ms: fc.integer({ min: 0, max: 6 }),
      type: fc.constantFrom('gif', 'image', undefined),
      category: label,
      user_id: label,
      own: fc.boolean(),
      title: fc.constantFrom('red fox', 'Red cat', 'fox', undefined)
    })
    const filter = fc.record(
      {
        type: fc.constantFrom('gif', 'image'),
        category: label,
        user_id: label,
        mine: fc.constant('true'),
        q: fc.constantFrom('re', 'FOX', 'fox red', 'ca')
      },
      { requiredKeys: [] }
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(stored, { maxLength: 40 }),
        fc.array(fc.tuple(filter, fc.integer({ min: 1, max: 12 })), { minLength: 3, maxLength: 3 }),
        async (model, queries) => {
          await rows.deleteMany({})
          const documents = model.map(({ ms, own, title, ...fields }) =>
            itemRow(ms, { ...fields, ...(own && { owner }), ...(title !== undefined && { title }) }))
          if (documents.length > 0) await rows.insertMany(documents)
          for (const [filter, perPage] of queries) {
            const matching = documents.filter(document =>
              (['type', 'category', 'user_id'] as const).every(name =>
                filter[name] === undefined || document[name] === filter[name]) &&
            (!filter.mine || document.owner?.equals(owner) === true) &&
          (filter.q ?? '').toLowerCase().split(' ').every(word =>
            (document.title ?? (filter.q === undefined ? ' ' : '')).toLowerCase().split(' ').some(own =>
              own.startsWith(word) && (own !== '' || word === ''))))
              .sort((a, b) =>
                b.created_at.getTime() - a.created_at.getTime() ||
              b._id.toHexString().localeCompare(a._id.toHexString())).map(({ _id }) => _id.toHexString())
            const query = new URLSearchParams({ ...filter, per_page: String(perPage) } as Record<string, string>)
            const totals = {
              per_page: perPage,
              total: matching.length,
              total_pages: Math.ceil(matching.length / perPage),
              total_exact: true
            }
            for (let page = 1; page <= totals.total_pages + 1; page++) {
              const { body: { items, next_cursor: cursor, ...told } } = await ok(list(`?${query}&page=${page}`))
              t.same({ ids: idsOf({ items }), ...told }, {
                ids: matching.slice((page - 1) * perPage, page * perPage),
                page,
                ...totals
              })
              if ((cursor !== null) !== (page < totals.total_pages)) throw new Error(`next_cursor of page ${page}`)
            }
            const pages = await walk(list, String(query))
            t.same(pages.flat(), matching)
            if (pages.length !== Math.max(1, totals.total_pages)) throw new Error('an empty page at the end')
          }
          return t.passing()
        }
      ),
      { seed: 20260504, numRuns: scale({ short: 6, long: 300 }) }
    )
  })

  t.test('A filter that finds more than 10,000 counts them no further', async t => {
    const many = Array.from({ length: 10_001 }, (_, i) => ({ ...itemRow(i), category: i === 0 ? 'first' : 'many' }))
    await insertRows(rows, many)
    t.match(
      await list('?per_page=100'),
      { status: 200, body: { total: 10_001, total_pages: 101, total_exact: true } },
      'without a filter all are counted'
    )
    t.match(
      await list('?category=many&per_page=100'),
      { status: 200, body: { total: 10_000, total_pages: 100, total_exact: true } }
    )
    t.match(
      await list('?type=gif&per_page=100'),
      { status: 200, body: { total: 10_000, total_pages: 100, total_exact: false } }
    )
    t.match(await list('?type=gif&per_page=100&page=101'), {
      status: 200,
      body: {
        items: [{ id: many[0]!._id.toHexString() }],
        total: 10_000,
        total_exact: false,
        next_cursor: null
      }
    })
    t.match(await list('?type=gif&per_page=100&page=500'), {
      status: 200,
      body: {
        items: [],
        total: 10_000,
        total_exact: false,
        next_cursor: null
      }
    })
    t.match(await list('?page=101&per_page=100'), { status: 200, body: { items: { length: 1 }, next_cursor: null } })
  })
})
