import t from 'tap'
import { accountOf, insertRows } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { createdAt, itemRow } from '../helpers/items.js'
import { walk } from '../helpers/library-pages.js'
import { startService } from '../helpers/service.js'

t.test('GET /library, searches', async t => {
  const service = await startService(t)
  const { token, phone } = await service.signIn()
  const owner = await accountOf(service.app, phone)
  const list = (query: string) => service.call('GET', `/library${query}`, { token })
  await service.app.sweeper.sweep() // the first count of the items
  const rows = service.app.collections.library
  t.beforeEach(async () => { await rows.deleteMany({}) })

  t.test('A search finds the titles in which each of its words begins a word, whatever its case', async t => {
    const long = 'x'.repeat(40)
    const titles = [
      'Dancing fox 🦊',
      'DANCE like nobody\'s watching',
      'Straße in Île-de-France',
      'नमस्ते दुनिया',
      `${long}y`,
      `${long}z`,
      'ﬁne ｆｕｌｌ ①',
      '踊る狐',
      'ΣΊΣΥΦΟΣ',
      'café & co. (2024)',
      'a'.repeat(255),
      'zero\u200dwidth',
      '!!!'
    ]
    await rows.insertMany(titles.map((title, i) => itemRow(-i, { title })))
    const searches: Array<[q: string, found: number[]]> = [
      ['fox', [0]],
      ['FO', [0]],
      ['d', [0, 1, 2]],
      ['dan', [0, 1]],
      ['dan fo', [0]],
      ['fox dancing', [0]],
      ['fox fox f', [0]],
      ['ox', []],
      ['ancing', []],
      ['dan cats', []],
      ['nobody\'s', [1]],
      ['watching!', [1]],
      ['strasse', [2]],
      ['STRASSE île', [2]],
      ['STRAẞE', [2]],
      ['france de', [2]],
      ['I\u0302le', [2]],
      ['नम', [3]],
      ['दुनिया नमस्ते', [3]],
      ['🦊', [0]],
      ['🐱', []],
      [long, [4, 5]],
      [`${long}y`, [4]],
      [`${long}yz`, []],
      ['x'.repeat(32), [4, 5]],
      ['x'.repeat(33), [4, 5]],
      ['fine full 1', [6]],
      ['踊る', [7]],
      ['狐', []],
      ['σίσυφοσ', [8]],
      ['σίσυφος', [8]],
      ['cafe', []],
      ['CAFÉ', [9]],
      ['cafe\u0301', [9]],
      ['2024', [9]],
      ['a'.repeat(255), [10]],
      ['zerowidth', [11]],
      ['f.x', []]
    ]
    for (const [q, found] of searches) {
      const { status, body } = await list(`?per_page=100&q=${encodeURIComponent(q)}`)
      t.same(
        { status, titles: body.items.map(({ title }: { title: string }) => titles.indexOf(title)) },
        { status: 200, titles: found },
        q
      )
    }
  })

  t.test('A search for a string without any word finds nothing, with and without other filters', async t => {
    await rows.insertMany([
      itemRow(-1, { title: '.*' }),
      itemRow(-2, { title: '!!! %', type: 'gif', owner }),
      itemRow(-3, { title: 'fox', type: 'gif', owner })
    ])
    const nothing = { items: [], page: 1, per_page: 10, total: 0, total_pages: 0, total_exact: true, next_cursor: null }
    for (const q of ['', '.*', '.* $', '!!!', ' ', '\u200d', '%', '\0', '"\'\\', '$^', '()[]{}']) {
      for (const filters of ['', '&type=gif', '&mine=true', '&type=gif&mine=true&category=GIF', '&page=1']) {
        const { status, body } = await list(`?q=${encodeURIComponent(q)}${filters}`)
        t.same({ status, body }, { status: 200, body: nothing }, `${JSON.stringify(q)} ${filters}`)
      }
      t.same(
        (await ok(list(`?q=${encodeURIComponent(q)}&page=3&per_page=7`))).body,
        { ...nothing, page: 3, per_page: 7 }
      )
    }
    t.equal((await ok(list('?q=fox&type=gif&mine=true'))).body.total, 1, 'a word finds what it found before')
  })

  t.test('A search of many rows has short pages, goes on by cursor, and its total is not exact', async t => {
    const count = 2500
    await insertRows(rows, Array.from({ length: count }, (_, i) =>
      itemRow(i, { title: `${i % 2 ? 'odd' : 'even'} fox${i % 1000 === 7 ? ' seven' : ''}` })))
    const first = (await ok(list('?q=odd+fox&per_page=3'))).body
    t.match(first, { total: 1000, total_exact: false, total_pages: 334, items: { length: 3 }, next_cursor: String })
    t.match((await ok(list('?q=odd+fox&per_page=100&page=10'))).body, { items: { length: 100 }, total: 1000 })
    t.match((await ok(list('?q=odd+fox&per_page=100&page=11'))).body, { items: [], total: 1000, next_cursor: String })
    t.equal((await walk(list, 'q=odd+fox&per_page=100')).flat().length, count / 2)
    const none = (await ok(list('?q=odd+even'))).body
    t.match(none, { items: [], total: 0, total_exact: false, next_cursor: String })
    const pages = await walk(list, 'q=odd+even')
    t.same([pages.length, pages.flat()], [2, []])
    const rare = (await ok(list('?q=odd+fox+seven&per_page=2'))).body
    t.match(rare, { items: { length: 2 }, total: 3, total_exact: true, next_cursor: String })
    t.match((await ok(list(`?q=odd+fox+seven&per_page=2&cursor=${rare.next_cursor}`))).body, {
      items: { length: 1 },
      total: 3,
      total_exact: true
    })
    t.match((await ok(list('?q=fox&per_page=1'))).body, { total: count, total_exact: true }, 'one word is one index')
    t.match((await ok(list('?q=fox&mine=true&per_page=1'))).body, { total: 0, total_exact: true, next_cursor: null })
    for (let i = 0; i < count; i += 250) { // a slow database deletes no more in one command
      await rows.deleteMany({ created_at: { $gte: createdAt(i), $lt: createdAt(i + 250) } })
    }
  })
})
