import { MongoClient, ObjectId, type Document } from 'mongodb'
import t from 'tap'
import { MAX_WAIT_MS } from '../../services/request-deadline.js'
import type { LibraryDocument, SessionDocument } from '../../schemas/documents.js'
import type { LibraryPage, LibraryQuery } from '../../schemas/library.js'
import { createLibrary } from '../../services/library/library.js'
import { createLibraryState } from '../../services/library/state.js'
import { versionedLibrary } from '../../services/library/version-writes.js'
import { claimsOf, insertRows, userRow } from '../helpers/accounts.js'
import { answerOf, ok, refusal } from '../helpers/answers.js'
import { startFaultySetup } from '../helpers/faulty-setup.js'
import { createdAt, itemRow } from '../helpers/items.js'
import { startService } from '../helpers/service.js'
import { gif } from '../helpers/small-pictures.js'
import { scale } from '../helpers/test-length.js'
import { eventually } from '../helpers/wait.js'
t.test('GET /library', async t => {
  const service = await startService(t)
  const { token, phone } = await service.signIn()
  const list = (query = '') => service.call('GET', `/library${query}`, { token })
  const rows = service.app.collections.library
  await service.app.sweeper.sweep() // the first count of the items
  t.beforeEach(async () => { await rows.deleteMany({}) })

  t.test('An empty library is an empty page', async t => {
    t.strictSame((await ok(list())).body, {
      items: [],
      page: 1,
      per_page: 10,
      total: 0,
      total_pages: 0,
      total_exact: true,
      next_cursor: null
    })
    t.strictSame((await ok(list('?page=7&per_page=3'))).body, {
      items: [],
      page: 7,
      per_page: 3,
      total: 0,
      total_pages: 0,
      total_exact: true,
      next_cursor: null
    })
  })

  t.test('The newest come first, and of one moment the one with the greater id', async t => {
    const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second))
    const documents = [3, 1, 2, 2, 2, 0, 3].map((second, i) => row(at(second), `u${i}`))
    await rows.insertMany(documents)
    const expected = documents
      .toSorted((a, b) =>
        b.created_at.getTime() - a.created_at.getTime() || b._id.toHexString().localeCompare(a._id.toHexString()))
      .map(({ _id }) => _id.toHexString())
    t.strictSame((await ok(list())).body.items.map(({ id }: { id: string }) => id), expected)
    const pages = await Promise.all([1, 2, 3, 4].map(page => ok(list(`?page=${page}&per_page=2`))))
    t.strictSame(
      pages.flatMap(({ body }) => body.items.map(({ id }: { id: string }) => id)),
      expected,
      'page after page gives each once'
    )
    for (const { body } of pages) t.match(body, { per_page: 2, total: 7, total_pages: 4 })
  })

  t.test('A page tells its place, and past the end it is empty', async t => {
    await insertRows(rows, Array.from({ length: 101 }, (_, i) => row(new Date(i))))
    const told = async (query: string) => {
      const { status, body: { items, total_exact: exact, next_cursor: cursor, ...rest } } = await list(query)
      t.equal(exact, true)
      t.equal(cursor !== null, rest.page < rest.total_pages, 'there is a cursor where there is a next page')
      return { status, items: items.length, ...rest }
    }
    t.strictSame(await told(''), { status: 200, items: 10, page: 1, per_page: 10, total: 101, total_pages: 11 })
    t.strictSame(await told('?page=11'), { status: 200, items: 1, page: 11, per_page: 10, total: 101, total_pages: 11 })
    t.strictSame(await told('?page=12'), { status: 200, items: 0, page: 12, per_page: 10, total: 101, total_pages: 11 })
    t.strictSame(await told('?page=999999999&per_page=100'), {
      status: 200,
      items: 0,
      page: 999999999,
      per_page: 100,
      total: 101,
      total_pages: 2
    })
    for (const asked of [100, 101, 500, 999_999_999]) {
      t.strictSame(await told(`?per_page=${asked}`), {
        status: 200,
        items: 100,
        page: 1,
        per_page: 100,
        total: 101,
        total_pages: 2
      })
    }
    t.strictSame(await told('?per_page=1&page=101'), {
      status: 200,
      items: 1,
      page: 101,
      per_page: 1,
      total: 101,
      total_pages: 101
    })
  })

  t.test('A page number that is no positive integer in plain notation, or is given twice, is 400', async t => {
    const bad = [
      '0', '-1', '1.5', '1.0', 'NaN', '1e9', '1000000000', '1_0', '%EF%BC%91', '%205', '5%20', '+3', '%2B3', '0x10',
      '007', '', 'Infinity', 'null', 'true', '1,2', "'1'", '%00'
    ]
    for (const name of ['page', 'per_page']) {
      const queries = [
        ...bad.map(value => `${name}=${value}`), `${name}=1&${name}=2`, `${name}=1&${name}=1`, `${name}[]=1`,
        `${name}[$gt]=1`, `${name}%5B%24gt%5D=1`, `${name}=1&${name}[]=2`, name
      ]
      for (const query of queries) {
        const { status, body } = await list(`?${query}`)
        t.equal(status, 400, query)
        t.strictSame(Object.keys(body.errors), [name], query)
      }
    }
    t.strictSame(answerOf(await list('?page=x&per_page=0')), refusal({
      page: ['Not a valid integer.'],
      per_page: ['Not a valid value.']
    }))
    t.equal((await list('?page=1&per_page=1&pagers[]=1&other=x')).status, 200, 'unknown parameters are ignored')
  })

  t.test('Rows of the replaced system are listed as they are, with defaults for what they lack', async t => {
    const url = (name: string) => `https://hookaba-media.s3.amazonaws.com/${name}`
    const id = (second: number) => ObjectId.createFromTime(Date.UTC(2024, 4, 1, 10, 0, second) / 1000)
    const old: Array<[row: Document, listed: object]> = [
      [
        {
          _id: id(9),
          url: url('a.gif'),
          user_id: 'u',
          type: 'gif',
          category: 'Cats',
          created_at: new Date('2024-05-01T10:00:09.123Z')
        },
        { url: url('a.gif'), user_id: 'u', type: 'gif', category: 'Cats', created_at: '2024-05-01T10:00:09.123Z' }
      ],
      [
        { _id: id(8), url: url('b.gif'), user_id: 'u', created_at: new Date('2024-05-01T10:00:08Z') },
        { url: url('b.gif'), type: 'gif', category: 'GIF', created_at: '2024-05-01T10:00:08.000Z' }
      ],
      [
        {
          _id: id(7),
          url: url('c.jpg'),
          user_id: 'u',
          type: null,
          category: null,
          created_at: new Date('2024-05-01T10:00:07Z')
        },
        { url: url('c.jpg'), type: 'image', category: 'Images' }
      ],
      [
        { _id: id(6), url: url('d.png'), user_id: 77, created_at: '2024-05-01T10:00:06.500000' },
        { user_id: '77', created_at: '2024-05-01T10:00:06.500Z' }
      ],
      [
        { _id: id(5), url: url('e.png'), user_id: 'u', created_at: '2024-05-01T12:00:05+02:00' },
        { created_at: '2024-05-01T10:00:05.000Z' }
      ],
      [
        { _id: id(4), url: url('f.png'), user_id: 'u', created_at: 'yesterday' },
        { created_at: '2024-05-01T10:00:04.000Z' }
      ],
      [{ _id: id(3), url: url('g.png'), user_id: 'u', created_at: null }, { created_at: '2024-05-01T10:00:03.000Z' }],
      [
        { _id: id(2), url: url('h.png') },
        { user_id: '', created_at: '2024-05-01T10:00:02.000Z', type: 'image', category: 'Images' }
      ]
    ]
    await rows.insertMany(old.map(([document]) => document as LibraryDocument))
    const { status, body } = await list()
    t.equal(status, 200)
    t.equal(body.items.length, old.length)
    for (const [{ _id }, listed] of old) {
      t.match(body.items.find((item: { id: string }) => item.id === _id.toHexString()), listed)
    }
  })

  t.test('Only the id of the account that uploaded is listed', async t => {
    await ok(service.upload(token, gif, { fields: { user_id: 'meera' } }))
    const { text, body } = await ok(list())
    t.equal(body.items.length, 1)
    t.equal(body.items[0].owner_id, claimsOf(token).sub)
    t.notOk(text.includes(phone.slice(1)), 'no number')
  })

  t.test('GET /library answers 401 without a good token', async t => {
    for (const headers of [
      undefined,
      { authorization: 'Bearer' },
      { authorization: 'Bearer x.y.z' },
      { authorization: `Basic ${token}` }
    ]) {
      const { status, headers: answered, body } = await service.call('GET', '/library', { headers })
      t.equal(status, 401)
      t.match(answered.get('www-authenticate'), /^Bearer/)
      t.type(body.error, 'string')
    }
  })
})

t.test('Documents that a page reads', async t => {
  const service = await startService(t)
  const rows = service.app.collections.library
  const mine = new ObjectId()
  const length = scale({ short: 600, long: 3000 })
  await insertRows(rows, Array.from({ length }, (_, i) => itemRow(Math.floor(i / 3), {
    type: i % 2 ? 'gif' : 'image',
    category: i % 3 ? 'GIF' : 'Cats',
    user_id: i % 5 ? 'u' : 'v',
    ...(i % 7 === 0 && { owner: mine }),
    ...(i % 4 === 0 && { title: i % 8 ? 'dancing fox' : 'Fox, dancing' })
  })))
  const client = await new MongoClient(service.services.mongoUri, { monitorCommands: true }).connect()
  t.teardown(() => client.close())
  const db = client.db(service.app.mongo.db!.databaseName)
  const asked: Document[] = []
  client.on('commandStarted', ({ command }) => { asked.push(command) })
  const library = createLibrary({
    db,
    library: db.collection('library'),
    states: createLibraryState(db.collection('library_state')),
    media: { url: key => `https://media.example.com/${key}` },
    isAdmin: () => false
  })
  const caller = { account: userRow({ _id: mine }), session: {} as SessionDocument }
  const list = async (query: LibraryQuery): Promise<LibraryPage> => {
    const { page } = await library.list(query, caller, { serialize: JSON.stringify })
    return JSON.parse(page!.text)
  }
  await service.app.sweeper.sweep() // counts the rows

  t.test(
    'Each filter is read in the order of its index, as far as the page goes, on the first page and by cursor',
    { skip: process.env.MONGO_URI !== undefined && 'other servers plan otherwise' },
    async t => {
      for (const { filter, index } of [
        { filter: {}, index: 'created_at_-1__id_-1' },
        { filter: { type: 'gif' as const }, index: 'type_1_created_at_-1__id_-1' },
        { filter: { category: 'Cats' }, index: 'category_1_created_at_-1__id_-1' },
        { filter: { user_id: 'v' }, index: 'user_id_1_created_at_-1__id_-1' },
        { filter: { mine: true }, index: 'owner_1_created_at_-1__id_-1' },
        { filter: { q: 'FO' }, index: 'words_1_created_at_-1__id_-1' }
      ]) {
        let cursor: string | null | undefined
        for (let page = 0; page < scale({ short: 8, long: 30 }) && cursor !== null; page++) {
          asked.length = 0
          const { next_cursor: next, items } = await list({ ...filter, per_page: 10, ...(cursor && { cursor }) })
          const reads = asked.filter(({ find }) => find === 'library')
          t.equal(reads.length, 1)
          const { $db, lsid, $clusterTime, ...read } = reads[0]!
          const plan = await db.command({ explain: read, verbosity: 'executionStats' })
          const text = JSON.stringify(plan.queryPlanner.winningPlan)
          t.ok(text.includes(`"${index}"`) && !/"SORT"|COLLSCAN/.test(text), `${JSON.stringify(filter)} ${text}`)
          const { totalKeysExamined: keys, totalDocsExamined: docs } = plan.executionStats
          if (keys > 11 || docs > 11) {
            t.fail(`${JSON.stringify(filter)} page ${page} looks at ${keys} keys and ${docs} rows for ${items.length}`)
          }
          cursor = next
        }
      }
    }
  )

  t.test('A page is one command beside that for the state, and does not read what it does not show', async t => {
    const commands: Document[] = []
    client.on('commandSucceeded', ({ commandName, reply }) => { commands.push({ commandName, reply }) })
    const { next_cursor: cursor } = await list({ per_page: 9 })
    await list({ per_page: 9, page: 3 })
    await list({ per_page: 9, cursor: cursor! })
    t.same(commands.map(({ commandName }) => commandName), Array(6).fill('find'))
    const pages = commands.map(({ reply }) => reply.cursor).filter(({ firstBatch: [{ _id: id }] }) => id !== 'library')
    t.equal(pages.length, 3)
    for (const { id, firstBatch } of pages) {
      t.equal(String(id), '0', 'no cursor stays open')
      t.equal(firstBatch.length, 10)
      for (const row of firstBatch) t.strictSame(Object.keys(row).filter(name => name === 'words'), [])
    }
    commands.length = 0
    await list({ per_page: 9, page: 3 })
    await list({ per_page: 8, q: 'fox' })
    await list({ per_page: 8, q: 'fox', page: 2 })
    t.same(commands.map(({ commandName }) => commandName), ['find', 'find', 'find', 'aggregate', 'find', 'find'],
      'a kept page costs none, and what a filter finds is counted once')
  })
})

t.test('GET /library by many clients at once', async t => {
  const setup = await startFaultySetup(t)
  const service = await startService(t, {
    services: { ...setup.throughProxies, mongoUri: `${setup.throughProxies.mongoUri}&monitorCommands=true` },
    maxDatabaseWaitMs: MAX_WAIT_MS
  })
  const { token } = await service.signIn()
  await service.app.collections.library.insertMany([itemRow(0), itemRow(1), itemRow(2)])
  const list = (query = '', headers = {}, { call } = service) => call('GET', `/library${query}`, { token, headers })
  const fail = (mode: object | string, data: object = {}) => setup.client.db('admin').command({
    configureFailPoint: 'failCommand',
    mode,
    data: { failCommands: ['find'], appName: setup.appName, ...data }
  })
  t.teardown(() => fail('off'))
  await ok(list())

  t.test('Many lists at once cost the database a few reads, and each client gets its page', async t => {
    const patient = await startService(t, {
      services: { ...setup.throughProxies, mongoUri: `${setup.throughProxies.mongoUri}&monitorCommands=true` }
    })
    await eventually(() => patient.app.sweeper.sweep()) // the work of the start is over
    await patient.app.moderationWorker.run()
    await ok(list('', {}, patient))
    let finds = 0
    patient.app.mongo.client.on('commandStarted', ({ commandName }) => { if (commandName === 'find') finds++ })
    setup.mongo.latency(200)
    const asked = Array.from({ length: 60 }, (_, i) => i % 3 + 1)
    const answers = await Promise.all(asked.map(page => list(`?per_page=1&page=${page}`, {}, patient)))
    await setup.mongo.up()
    t.strictSame(
      answers.map(({ status, body }) => [status, body.page, body.items[0].created_at]),
      asked.map(page => [200, page, createdAt(3 - page).toISOString()])
    )
    t.ok(finds >= 2 && finds <= 45, `${finds} reads`)
  })

  t.test('A request after an acknowledged write sees it, though the same read was under way', async t => {
    setup.mongo.latency(50)
    for (let i = 0; i < 10; i++) {
      const sent = setup.mongo.passed(1, 'up')
      const before = Array.from({ length: 5 }, () => list('?per_page=100'))
      await sent
      const added = itemRow(10 + i)
      await versionedLibrary<LibraryDocument>(setup.client.db()).insertOne(added) // as another instance does
      const [{ body }] = await Promise.all([list('?per_page=100'), ...before])
      t.equal(body.items[0].id, added._id.toHexString())
    }
    await setup.mongo.up()
  })

  t.test('A write whose answer was lost makes a new version all the same', async t => {
    const before = await ok(list())
    const known = { 'if-none-match': before.headers.get('etag')! }
    const added = itemRow(100)
    await service.app.collections.library.insertOne(added)
    const tagged = { 'if-none-match': (await ok(list('', known))).headers.get('etag')! }
    t.equal((await list('', tagged)).status, 304)
    setup.mongo.throttle(0, 'down')
    const deletion = t.rejects(service.app.collections.library.deleteMany({ _id: added._id }))
    await eventually(async () => await setup.client.db().collection('library').findOne({ _id: added._id }) === null)
    setup.mongo.reset()
    await deletion
    await setup.mongo.up()
    await eventually(async () => (await list('', tagged)).status === 200)
    t.equal((await ok(list())).body.items.length, before.body.items.length)
  })

  t.test(
    'A broken connection costs no answer; a refusal costs those that meet it theirs, and the next is well',
    async t => {
      for (const data of [{ closeConnection: true }, { errorCode: 11602 }]) {
        await fail({ times: 1 }, data)
        t.strictSame(new Set((await Promise.all([list(), list(), list()])).map(({ status }) => status)), new Set([200]))
      }
      await fail('alwaysOn', { errorCode: 8000 })
      t.strictSame((await Promise.all([list(), list(), list()])).map(({ status }) => status), [500, 500, 500])
      await fail('off')
      t.equal((await list()).status, 200)
    }
  )

  t.test('GET /library answers 500 while the database is away', async t => {
    await setup.mongo.down()
    const { status, headers, body, text } = await service.call('GET', '/library', { token })
    t.equal(status, 500)
    t.strictSame(body, {
      error: 'Failed to fetch library items',
      details: `The request could not be completed. Quote request id ${headers.get('x-request-id')} when you ask about it.`
    })
    t.notMatch(text, /mongo|127\.0\.0\.1|ECONN|topology/i)
    await setup.mongo.up()
    t.equal((await service.call('GET', '/library', { token })).status, 200, 'and is back with it')
  })
})

const row = (createdAt: Date, userId = 'u') =>
  ({
    _id: new ObjectId(),
    key: `library/${createdAt.getTime()}/original.gif`,
    user_id: userId,
    type: 'gif',
    category: 'GIF',
    created_at: createdAt
  })
