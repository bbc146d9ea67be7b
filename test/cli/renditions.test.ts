import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { MongoClient, ObjectId, type Document } from 'mongodb'
import t, { type Test } from 'tap'
import { checkLibraryCommand } from '../../cli/commands/check-library.js'
import { migrateCommand } from '../../cli/commands/migrate.js'
import { versionedLibrary } from '../../services/library/version-writes.js'
import { makeMissingRenditions } from '../../services/uploads/missing-renditions.js'
import type { LibraryDocument } from '../../schemas/documents.js'
import { ok } from '../helpers/answers.js'
import { environment, publish, s3Client, startServices, type Services } from '../helpers/backends.js'
import { endOf, renditions as command } from '../helpers/command.js'
import { createUser, makeAdmin } from '../helpers/accounts.js'
import { findItem } from '../helpers/items.js'
import { oldId } from '../helpers/old-database.js'
import { s3Proxy } from '../helpers/s3-proxy.js'
import { runProgram } from '../helpers/server-process.js'
import { startService } from '../helpers/service.js'
import { gif, jpeg, png, webp } from '../helpers/small-pictures.js'

const SIZES = { RENDITION_SIZES: '64x64,32x32' }

t.test('npm run renditions makes a size that is new in RENDITION_SIZES, and every list shows it', async t => {
  const services = await startServices(t)
  const service = await startService(t, { services })
  const { token } = await service.signIn()
  const ids: string[] = []
  for (const picture of [gif, png]) ids.push((await ok(service.upload(token, picture))).body.id)
  const before = await service.call('GET', '/library', { token })

  const dry = await run(services, ['--dry-run'], SIZES)
  t.strictSame(dry, {
    code: 0,
    stdout: ids.map(id => `library ${id}: 32x32\n`).join('') + 'Renditions to make for 2 items (nothing was written).\n',
    stderr: ''
  })
  const unchanged = await service.call('GET', '/library', {
    token,
    headers: { 'if-none-match': before.headers.get('etag')! }
  })
  t.equal(unchanged.status, 304)

  const real = await run(services, [], SIZES)
  t.match(real, { code: 0, stderr: '' })
  t.same(sorted(real.stdout), sorted(dry.stdout.replace(/Renditions.*/, 'Renditions made for 2 items.')))
  const { body } = await ok(service.call('GET', '/library', {
    token,
    headers: { 'if-none-match': before.headers.get('etag')! }
  }))
  for (const [n, type] of ['image/png', 'image/gif'].entries()) {
    const { renditions } = body.items[n]
    t.same(Object.keys(renditions), ['64x64', '32x32'])
    t.same(renditions['64x64'], before.body.items[n].renditions['64x64'], 'what was there stays')
    const served = await fetch(renditions['32x32'].url)
    t.same([served.status, served.headers.get('content-type')], [200, type])
    t.equal((await served.arrayBuffer()).byteLength, renditions['32x32'].bytes)
  }
  t.equal((await run(services, [], SIZES)).stdout, 'Nothing to do.\n')
  t.match(await endOf(checkLibraryCommand, [], environment(services)), { code: 0 })
})

t.test('npm run renditions serves old pictures at the panel\'s size, and deletion removes all of them', async t => {
  const { services, put, insert, library } = await oldLibrary(t)
  await put('cat.gif', gif)
  await put('my photo.JPG', jpeg)
  await put('sun.webp', webp)
  await put('notes.gif', Buffer.from('no picture at all'))
  await put('cut.png', png.subarray(0, png.length - 20))
  await put('large.gif', Buffer.concat([gif, Buffer.alloc(20_000)]))
  const url = (name: string) => `${services.s3.endpoint}/${services.s3.bucket}/${name}`
  const urls = [
    url('cat.gif'), url('my%20photo.JPG'), url('sun.webp?v=2'), url('notes.gif'), url('cut.png'),
    url('large.gif'), url('gone.gif'), 'https://elsewhere.example/cat.gif', url('library/x/original.gif')
  ]
  await insert(urls.map((url, n) => ({ _id: oldId(n + 1), url, user_id: 'meera', created_at: '2023-03-02T09:00:00' })))

  const real = await run(services, [], { UPLOAD_MAX_BYTES: '16384' })
  t.match(real, { code: 0, stderr: '' })
  t.same(real.stdout.split('\n').map(line => line.replace(/^library 0*64000000000000000000000/, '')).sort(), [
    '',
    '1: 64x64',
    '2: 64x64',
    '3: 64x64',
    '4: open: its original is no GIF, PNG, JPEG or WebP',
    '5: open: its original cannot be decoded',
    `6: open: its original has ${gif.length + 20_000} bytes, more than UPLOAD_MAX_BYTES`,
    '7: open: its original is missing',
    '8: open: its original is not in this bucket',
    '9: open: its original is not in this bucket',
    'Renditions made for 3 items; 6 open points to look at.'
  ].sort())

  const service = await startService(t, { services, env: { LIBRARY_URL_RENDITION: '64x64' } })
  const admin = await createUser(service)
  await makeAdmin(service, admin.phone)
  const { items } = (await ok(service.call('GET', '/library?per_page=20', { token: admin.token }))).body
  t.equal(items.length, 9)
  for (const [n, type] of ['image/gif', 'image/png', 'image/png'].entries()) {
    const item = items.find(({ id }: { id: string }) => id === oldId(n + 1).toHexString())
    t.match(item, { original_url: urls[n], width: 2, height: 2, owner_id: null })
    const served = await fetch(item.url)
    t.same([served.status, served.headers.get('content-type')], [200, type], item.url)
  }
  t.match(await endOf(checkLibraryCommand, [], environment(services)), { code: 0 })

  t.equal((await service.call('DELETE', `/library/${oldId(1)}`, { token: admin.token })).status, 204)
  t.equal((await fetch(items.at(-1).url)).ok, false, 'its rendition is gone')
  t.equal(await library.countDocuments(), 8)
  t.match(await endOf(checkLibraryCommand, [], environment(services)), { code: 0 }, 'and nothing else of it stays')
})

t.test('npm run check-library finds a lost rendition of an old picture, and one that no row names', async t => {
  const { services, put, lose, insert } = await oldLibrary(t)
  await put('cat.gif', gif)
  const url = `${services.s3.endpoint}/${services.s3.bucket}/cat.gif`
  await insert([{ _id: oldId(1), url, user_id: 'meera', created_at: new Date() }])
  t.equal((await run(services)).code, 0)
  await lose(`library/${oldId(1)}/64x64.gif`)
  await put(`library/${oldId(1)}/16x16.gif`, gif)
  const lines = [
    `object library/${oldId(1)}/16x16.gif: no item has it`,
    `library ${oldId(1)}: its rendition 64x64 is missing`
  ]
  const found = await endOf(checkLibraryCommand, [], environment(services))
  t.equal(found.code, 3)
  t.same(found.stdout.split('\n').slice(0, 2), lines)
  t.match(await endOf(checkLibraryCommand, ['--fix'], environment(services)), { code: 0 })
  t.match((await run(services)).stdout, 'Renditions made for 1 item.', 'the next run makes it again')
})

t.test('An item of 0.3.0 that names the files of another loses them when it is migrated', async t => {
  const { services, database } = await oldLibrary(t)
  const service = await startService(t, { services })
  const [victim, thief] = [await createUser(service), await createUser(service)]
  const { body: item } = await ok(service.upload(victim.token, gif))
  const { library } = service.app.collections
  const { key = '', ...row } = (await findItem(service, item.id))!
  const forged = { ...row, _id: new ObjectId(), owner: new ObjectId(thief.id), key: key.replace('original', '64x64') }
  await library.insertOne({ ...forged, renditions: 'none' as never })
  await database.collection('sessions').insertOne({ phone: victim.phone }) // marks a database of 0.3.0
  t.match(await endOf(migrateCommand, [], { MONGO_URI: services.mongoUri }), {
    code: 0,
    stdout: `library ${forged._id}: named the files of ${item.id}: has none now\n`
  })
  t.match((await run(services, [], SIZES)).stdout, `library ${forged._id}: open: its original is not in this bucket`)
  t.equal((await service.call('DELETE', `/library/${forged._id}`, { token: thief.token })).status, 204)
  t.equal((await fetch(item.original_url)).status, 200)
})

t.test('Another run goes on after a kill, and after a store that fails', async t => {
  const { services, put, insert, library } = await oldLibrary(t)
  const url = (n: number) => `${services.s3.endpoint}/${services.s3.bucket}/${n}.gif`
  for (let n = 1; n <= 60; n++) await put(`${n}.gif`, gif)
  await insert(Array.from({ length: 60 }, (_, n) =>
    ({ _id: oldId(n + 1), url: url(n + 1), user_id: 'meera', created_at: new Date() })))
  const killed = await runProgram('cli/renditions.js', [], environment(services), { killAfterLines: 1 })
  t.equal(killed.code, null)
  t.ok(await library.countDocuments({ renditions: { $exists: false } }) > 0, 'it was cut short')

  const proxy = await s3Proxy(services.s3)
  t.teardown(() => proxy.close())
  proxy.fault({ operation: 'PutObject', action: { do: 'answer', status: 500, code: 'InternalError' } })
  const failed = await run(services, [], { S3_ENDPOINT: proxy.endpoint, S3_PUBLIC_URL: url(0).replace('/0.gif', '') })
  t.match(failed, { code: 1, stderr: /^The command stopped; what is made stays made, and another run does the rest/ })
  t.equal((await run(services)).code, 0)
  t.equal(await library.countDocuments({ 'renditions.size': '64x64' }), 60)
  t.match(await endOf(checkLibraryCommand, [], environment(services)), { code: 0 })
})

t.test('An item that is deleted while its renditions are made leaves nothing in the store', async t => {
  const { services } = await oldLibrary(t)
  const service = await startService(t, { services })
  const { token } = await service.signIn()
  const { id } = (await ok(service.upload(token, gif))).body
  const { mediaStore: media, pictures } = service.app
  const result = await makeMissingRenditions({
    library: service.app.collections.library,
    newVersion: async () => {},
    media,
    pictures: {
      async read (...given) {
        const picture = await pictures!.read(...given)
        t.equal((await service.call('DELETE', `/library/${id}`, { token })).status, 204)
        return picture
      }
    },
    sizes: ['64x64', '32x32'],
    maxBytes: 10_000_000,
    concurrency: 2,
    dryRun: false,
    print: line => t.equal(line, `library ${id}: open: it was deleted meanwhile`),
    progress: () => {}
  })
  t.same(result, { made: 0, open: 1, postponed: 0 })
  t.equal((await media.list('')[Symbol.asyncIterator]().next()).done, true, 'the bucket is empty')
})

t.test('npm run renditions with a wrong argument or variable prints one sentence', async t => {
  t.match(await endOf(command, ['--dryrun'], {}), {
    code: 2,
    stderr: 'Usage: npm run renditions [-- --dry-run]\n'
  })
  t.match(await endOf(command, [], {}), { code: 1, stderr: /^MONGO_URI and S3_BUCKET must be set[^\n]*\n$/ })
})

const sorted = (text: string) => text.split('\n').sort()

const run = (services: Services, args: string[] = [], env: Record<string, string> = {}) =>
  endOf(command, args, { ...environment(services), ...env })

/** A bucket and a library for rows as the replaced system wrote them. */
async function oldLibrary (t: Test) {
  const services = await startServices(t)
  const client = s3Client(services)
  const mongo = await new MongoClient(services.mongoUri).connect()
  t.teardown(async () => {
    client.destroy()
    await mongo.close()
  })
  const Bucket = services.s3.bucket
  await publish(client, Bucket, '*')
  const library = versionedLibrary<LibraryDocument>(mongo.db())
  return {
    services,
    database: mongo.db(),
    library,
    put: (Key: string, Body: Buffer) => client.send(new PutObjectCommand({ Bucket, Key, Body })),
    lose: (Key: string) => client.send(new DeleteObjectCommand({ Bucket, Key })),
    insert: (rows: Document[]) => mongo.db().collection('library').insertMany(rows)
  }
}
