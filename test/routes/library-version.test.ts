import { randomUUID } from 'node:crypto'
import http from 'node:http'
import { gunzipSync } from 'node:zlib'
import { ObjectId, type Filter } from 'mongodb'
import t from 'tap'
import type { LibraryDocument } from '../../schemas/documents.js'
import { createItemDeletion } from '../../services/library/delete-item.js'
import { createLibraryState } from '../../services/library/state.js'
import { createTotalCheck } from '../../services/library/total-check.js'
import { checkLibraryCommand } from '../../cli/commands/check-library.js'
import { migrateCommand } from '../../cli/commands/migrate.js'
import { createUser, requestContextOf } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { environment, startServices, withUriOption } from '../helpers/backends.js'
import { endOf } from '../helpers/command.js'
import { failCommands } from '../helpers/fail-commands.js'
import { insertItems, itemRow, createdAt } from '../helpers/items.js'
import { startService, type Service } from '../helpers/service.js'
import { gif } from '../helpers/small-pictures.js'
import { eventually } from '../helpers/wait.js'

const services = await startServices(t)
const env = { SWEEP_INTERVAL_SECONDS: '0' }
const one = await startService(t, { services, env })
const other = await startService(t, {
  services: { ...services, mongoUri: withUriOption(services.mongoUri, 'monitorCommands', 'true') },
  env,
  now: () => one.clock.now
})
const { token } = await one.signIn()
const list = (service: Service, query = '', headers = {}) =>
  service.call('GET', `/library${query}`, { token, headers })
const idsOf = ({ body }: { body: { items: Array<{ id: string }> } }) => body.items.map(({ id }) => id)
const upload = async (service = one) => (await ok(service.upload(token, gif))).body.id as string
const rows = one.app.collections.library
await Promise.all([one, other].map(({ app }) => app.sweeper.sweep())) // the first count of the items
t.beforeEach(async () => { await rows.deleteMany({}) })

t.test('a list shows at once what another instance has added and deleted, and its total is exact', async t => {
  await insertItems(one, 30, i => ({ created_at: createdAt(i) }))
  const listed = async () => {
    const { body } = await ok(list(other))
    return { total: body.total, newest: body.items[0].id }
  }
  const before = await listed()
  t.equal(before.total, 30)
  const id = await upload()
  t.same(await listed(), { total: 31, newest: id })
  t.equal((await one.call('DELETE', `/library/${id}`, { token })).status, 204)
  t.same(await listed(), before)
  t.equal((await ok(list(other, '?page=4'))).body.items.length, 0)
  t.equal((await ok(list(other, '?type=gif'))).body.total, 30)
  await upload()
  t.equal((await ok(list(other, '?type=gif&per_page=2'))).body.total, 31, 'a filtered total, too')
})

t.test('the items of a deleted account lose their owner in the lists of every instance', async t => {
  const { token: leaving } = await createUser(one)
  await ok(one.upload(leaving, gif))
  const owners = async () => (await ok(list(other))).body.items.map((item: { owner_id: unknown }) => item.owner_id)
  t.notSame(await owners(), [null])
  t.equal((await one.call('DELETE', '/users/me', { token: leaving })).status, 204)
  t.same(await owners(), [null])
})

t.test('an unchanged page costs one small read, and no page is read for a known ETag', async t => {
  await insertItems(one, 30, i => ({ created_at: createdAt(i) }))
  const read: string[] = []
  const note = ({ command }: { command: { find?: string, aggregate?: string } }) => {
    const collection = command.find ?? command.aggregate
    if (collection?.startsWith('library')) read.push(collection)
  }
  other.app.mongo.client.on('commandStarted', note)
  t.teardown(() => other.app.mongo.client.off('commandStarted', note))
  const reads = async (...ask: Parameters<typeof list>) => {
    read.length = 0
    const answer = await list(...ask)
    return { answer, read: [...read] }
  }
  const first = await reads(other)
  t.same(first.read, ['library_state', 'library'])
  t.same((await reads(other)).read, ['library_state'])
  const tag = first.answer.headers.get('etag')!
  const known = await reads(other, '', { 'if-none-match': tag })
  t.match(known, { read: ['library_state'], answer: { status: 304, text: '' } })
  t.match(await reads(one, '', { 'if-none-match': tag }), { answer: { status: 304 } }, 'of every instance')
  await rows.insertOne(itemRow(100))
  const changed = await reads(other, '', { 'if-none-match': tag })
  t.match(changed, { read: ['library_state', 'library'], answer: { status: 200, body: { total: 31 } } })
  t.same((await reads(other, '?page=2&type=gif')).read, ['library_state', 'library', 'library'])
  const mine = await reads(other, '?mine=true')
  t.same(mine.read, ['library_state', 'library'])
  t.same((await reads(other, '?mine=true')).read, ['library_state', 'library'], '`mine` is not kept')
  t.match(await list(other, '?mine=true', { 'if-none-match': mine.answer.headers.get('etag')! }), { status: 304 })
})

t.test('different queries have different ETags; the callers share them', async t => {
  await insertItems(one, 30, i => ({ created_at: createdAt(i) }))
  const { next_cursor: cursor } = (await ok(list(one))).body
  const queries = [
    '', '?page=2', '?per_page=9', '?type=gif', '?type=image', '?category=GIF', '?user_id=GIF', '?q=GIF', '?q=',
    `?cursor=${cursor}`
  ]
  const tags = await Promise.all(queries.map(async query => (await ok(list(one, query))).headers.get('etag')))
  t.equal(new Set(tags).size, queries.length)
  const { token: stranger } = await one.signIn()
  t.equal((await one.call('GET', '/library', { token: stranger })).headers.get('etag'), tags[0])
  t.equal((await ok(list(one, '?page=1&per_page=10&unknown=x'))).headers.get('etag'), tags[0], 'written out')
  for (const bad of ['?cursor=x', `?cursor=${cursor}&page=2`, '?page=0']) {
    t.match(await list(one, bad, { 'if-none-match': '*' }), { status: 400 }, bad)
  }
})

t.test('a kept page goes compressed to a client that takes gzip, in a quarter of its bytes', async t => {
  await insertItems(one, 30, i => ({ created_at: createdAt(i), title: `Dancing fox ${i}`, sha256: 'a'.repeat(64) }))
  const plain = await raw(one, '/library', {})
  t.match(plain, { status: 200, headers: { vary: 'Accept-Encoding', 'content-encoding': undefined } })
  const zipped = await raw(one, '/library', { 'accept-encoding': 'gzip' })
  t.match(zipped, {
    status: 200,
    headers: {
      'content-encoding': 'gzip',
      vary: 'Accept-Encoding',
      etag: plain.headers.etag,
      'content-type': 'application/json; charset=utf-8',
      'content-length': String(zipped.bytes.length)
    }
  })
  t.equal(gunzipSync(zipped.bytes).toString(), plain.bytes.toString())
  t.ok(zipped.bytes.length <= plain.bytes.length / 4, `${zipped.bytes.length} of ${plain.bytes.length} bytes`)
  for (const [accepted, isZipped] of [
    ['gzip, deflate, br', true], ['*', true], ['br, gzip;q=0.5', true], ['gzip;q=1.0, identity;q=0.5', true],
    ['identity', false], ['br', false], ['gzip;q=0', false], ['identity, gzip;q=0.5', false], ['', false]
  ] as const) {
    const { status, headers } = await raw(one, '/library', { 'accept-encoding': accepted })
    t.equal(status, 200)
    t.equal(headers['content-encoding'], isZipped ? 'gzip' : undefined, `Accept-Encoding: ${accepted}`)
  }
  const head = await raw(one, '/library', { 'accept-encoding': 'gzip' }, 'HEAD')
  t.match(head, { status: 200, headers: { 'content-length': String(zipped.bytes.length) } })
  const known = await raw(one, '/library', { 'accept-encoding': 'gzip', 'if-none-match': plain.headers.etag! })
  t.match(known, { status: 304, headers: { vary: 'Accept-Encoding', 'content-encoding': undefined } })
})

t.test('a page beside CORS names both headers that it varies by', async t => {
  const service = await startService(t, { services, env: { ...env, CORS_ORIGINS: 'https://app.example.com' } })
  const { headers } = await ok(list(service))
  t.equal(headers.get('vary'), 'Origin, Accept-Encoding')
})

t.test('an upload whose version cannot be written is 500 and leaves nothing; the next one is counted', async t => {
  const appName = randomUUID()
  const service = await startService(t, {
    services: { ...services, mongoUri: withUriOption(services.mongoUri, 'appName', appName) },
    cleanupWaitMs: 0, // it fails as the upload does
    env
  })
  const { token } = await service.signIn()
  await ok(list(service))
  // the upload's updates are: its record to `committing`, then the version
  const heal = await failCommands(services.mongoUri, { commands: ['update'], appName, errorCode: 8000, skip: 1 })
  const { status } = await service.upload(token, gif)
  await heal()
  t.equal(status, 500)
  await eventually(async () => await rows.countDocuments() === 0)
  await service.app.close()
  await upload()
  t.equal((await ok(list(other))).body.items.length, 1)
  let time = 0
  const states = createLibraryState(one.app.collections.library_state)
  const check = createTotalCheck({
    states,
    countAll: async () => ({ shown: await rows.countDocuments(), hidden: 0 }),
    log: one.app.log,
    monotonic: () => time
  })
  for (; time <= 60_000; time += 60_000) await check.run(true)
  t.equal((await states.read()).total, 1)
})

t.test('a deletion that finds the item just deleted is answered only when lists show that', async t => {
  const id = await upload()
  const { headers } = await ok(list(other))
  const unversioned = one.app.mongo.db!.collection<LibraryDocument>('library')
  const { collections, mediaStore: media } = one.app
  const late = createItemDeletion({
    ...collections,
    // another request deletes it at this moment, and has not made its version yet
    library: new Proxy(rows, {
      get: (target, name) => name === 'deleteOne'
        ? async (filter: Filter<LibraryDocument>) => {
          await unversioned.deleteOne(filter)
          return target.deleteOne(filter)
        }
        : Reflect.get(target, name, target)
    }),
    states: createLibraryState(collections.library_state),
    media,
    isAdmin: () => true,
    now: () => one.clock.now
  })
  const account = (await collections.users.findOne({ 'sessions.0': { $exists: true } }))!
  await late.deleteItem(id, { account, session: account.sessions[0]! }, requestContextOf(one.app))
  t.match(await list(other, '', { 'if-none-match': headers.get('etag')! }), { status: 200, body: { items: [] } })
})

t.test('the lists show what operator commands have changed', async t => {
  const old = { _id: new ObjectId(), url: 'https://old.example.com/x.gif', created_at: createdAt(1) }
  await one.app.mongo.db!.collection('library').insertOne({ ...old, type: 'image' }) // without `category`
  await rows.insertOne(itemRow(0)) // without its object
  const listed = async () => (await ok(list(other))).body.items.map((item: { type: string, category: string }) =>
    `${item.type} ${item.category}`)
  t.same(await listed(), ['image Images', 'gif GIF'])
  const run = async (command: Parameters<typeof endOf>[0], args: string[]) =>
    t.match(await endOf(command, args, environment(services)), { code: 0 })
  await run(checkLibraryCommand, ['--fix'])
  t.same(await listed(), ['image Images'])
  await one.app.mongo.db!.collection('library').updateOne({ _id: old._id }, { $set: { type: null } }) // unseen
  await run(migrateCommand, [])
  t.same(await listed(), ['gif GIF'])
})

t.test('a sweep whose count fails says so, and the next sweep counts', async t => {
  const appName = randomUUID()
  const service = await startService(t, {
    services: { ...services, mongoUri: withUriOption(services.mongoUri, 'appName', appName) },
    env
  })
  await service.app.sweeper.sweep()
  await rows.insertMany([itemRow(0), itemRow(1)])
  await service.app.collections.library_state.deleteMany({})
  const heal = await failCommands(services.mongoUri, { commands: ['aggregate'], appName, errorCode: 8000 })
  const failed = await service.app.sweeper.sweep()
  await heal()
  t.equal(failed?.failed, 1)
  t.ok(service.logs.some(line => line.includes('"sweep.failed"') && line.includes('could not be counted')))
  t.match(await service.app.collections.library_state.findOne(), { counted: false })
  t.equal((await service.app.sweeper.sweep())?.failed, 0)
  t.match(await service.app.collections.library_state.findOne(), { counted: true, total: 2 })
})

t.test('a deleted state is made anew, and no list is taken for one of the state before', async t => {
  await insertItems(one, 3, i => ({ created_at: createdAt(i) }))
  const before = await ok(list(other))
  await one.app.collections.library_state.deleteMany({})
  await one.app.mongo.db!.collection('library').deleteOne({}) // as a restored backup differs
  const after = await list(other, '', { 'if-none-match': before.headers.get('etag')! })
  t.match(after, { status: 200, body: { total: 2 } })
  await one.app.library.checkTotal(false)
  t.match(await one.app.collections.library_state.findOne(), { counted: true, total: 2 })
})

t.test('a change of the settings that shape URLs gives other ETags', async t => {
  await rows.insertOne(itemRow(0))
  const renditions = await startService(t, { services, env: { ...env, LIBRARY_URL_RENDITION: '64x64' } })
  const [{ headers }, { headers: others }] = await Promise.all([ok(list(one)), ok(list(renditions))])
  t.not(headers.get('etag'), others.get('etag'))
})

t.test('only the caller\'s own lists are told apart by caller', async t => {
  await rows.insertMany([itemRow(0, { owner: new ObjectId() }), itemRow(1)])
  const id = await upload()
  t.same(idsOf(await ok(list(other, '?mine=true'))), [id])
  const { token: stranger } = await one.signIn()
  t.same(idsOf(await ok(other.call('GET', '/library?mine=true', { token: stranger }))), [])
})

/** One request with exactly these headers, and the bytes of its answer. */
function raw ({ url }: Service, path: string, headers: Record<string, string>, method = 'GET'): Promise<{
  status: number
  headers: http.IncomingHttpHeaders
  bytes: Buffer
}> {
  return new Promise((resolve, reject) => {
    http.request(url + path, {
      method,
      headers: { authorization: `Bearer ${token}`, ...headers },
      agent: false
    }, async response => {
      const bytes = Buffer.concat(await response.toArray())
      resolve({ status: response.statusCode!, headers: response.headers, bytes })
    }).on('error', reject).end()
  })
}
