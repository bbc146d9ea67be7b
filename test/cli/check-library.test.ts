import { CreateMultipartUploadCommand, DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { ObjectId } from 'mongodb'
import t from 'tap'
import { checkLibraryCommand } from '../../cli/commands/check-library.js'
import { accountOf } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { environment, s3Client } from '../helpers/backends.js'
import { endOf } from '../helpers/command.js'
import { findItem, insertItems } from '../helpers/items.js'
import { startService, type Service } from '../helpers/service.js'
import { runProgram } from '../helpers/server-process.js'
import { s3Proxy } from '../helpers/s3-proxy.js'
import { gif, png } from '../helpers/small-pictures.js'

t.setTimeout(1_200_000)
const service = await startService(t)
const { library, uploads } = service.app.collections
const Bucket = service.services.s3.bucket
const client = s3Client(service.services)
t.teardown(() => client.destroy())
const { phone, token } = await service.signIn()
const owner = await accountOf(service.app, phone)
const env = environment(service.services)

/** Runs the command on this service, or with another environment. */
const run = (args: string[] = [], other: Record<string, string> = {}) =>
  endOf(checkLibraryCommand, args, { ...env, ...other })

/** Runs the program in a process of its own. */
const runProcess = (args: string[] = []) =>
  runProgram('cli/check-library.js', args, { ...env, NODE_NO_WARNINGS: '1' }) // the AWS SDK warns on Node 20

/** Such a run takes 10 s: the other tests do not wait for it. */
const unreachable = run([], { MONGO_URI: 'mongodb://hidden:hidden@127.0.0.1:1/hidden' })

const put = (Key: string, Body = png) => client.send(new PutObjectCommand({ Bucket, Key, Body }))
const lose = (Key: string) => client.send(new DeleteObjectCommand({ Bucket, Key }))
const rendition = (size: string) => ({ size, bytes: png.length, frames: 1, duration_ms: 0 })
const before = (key: string) => key.replace('library/', 'library/!')

t.test('npm run check-library exits with 0 on an empty library', async t => {
  t.strictSame(await run(), {
    code: 0,
    stdout: '0 items checked, 0 of the replaced system not judged: consistent.\n',
    stderr: ''
  })
})

t.test('npm run check-library exits with 0 on a consistent library, and changes nothing', async t => {
  t.teardown(clear)
  await item(['64x64'])
  await item([])
  await insertOldItems()
  const state = await everything()
  for (const args of [[], ['--fix']]) {
    t.strictSame(await run(args), {
      code: 0,
      stdout: '2 items checked, 2 of the replaced system not judged: consistent.\n',
      stderr: ''
    })
  }
  t.strictSame(await everything(), state)
})

t.test('npm run check-library reports every fault and changes nothing; with --fix it repairs what it can', async t => {
  t.teardown(clear)
  await insertOldItems()
  const sound = await item(['64x64', '32x32'])
  const lost = await item(['64x64'])
  await lose(lost.key)
  const halved = await item(['64x64', '32x32'])
  await lose(halved.key.replace('original.gif', '32x32.gif'))
  const cut = await item(['64x64'])
  await put(cut.key, gif.subarray(1))
  const orphans = [
    sound.key.replace('original.gif', '128x128.gif'),
    before(sound.key),
    before(sound.key).replace('original', '64x64'),
    sound.key.slice(0, 16),
    'library/zebra.gif',
    `library/${'~'.repeat(40)}/original.gif`
  ]
  for (const key of orphans) await put(key)
  const inFlight = before(halved.key).replace('!', '!!')
  const inFlightKeys = [inFlight, inFlight.replace('original', '64x64')]
  for (const key of inFlightKeys) await put(key)
  await client.send(new CreateMultipartUploadCommand({ Bucket, Key: before(cut.key) }))
  await put('incoming/fox')
  await put('elsewhere/fox.gif')

  const broken = `library ${cut.id}: original.gif has ${gif.length - 1} bytes in place of ${gif.length}`
  const lines = [
    ...orphans.map(key => `object ${key}: no item has it`),
    `library ${lost.id}: its original is missing, so it cannot be served`,
    `library ${halved.id}: its rendition 32x32 is missing`,
    broken
  ]
  const state = await everything()
  const flying = await run()
  t.equal(flying.code, 3)
  t.ok(
    inFlightKeys.every(key => flying.stdout.includes(`object ${key}: no item has it\n`)),
    'without an upload record they are reported'
  )
  const endUpload = await beginUpload(inFlight)
  const dry = await run()
  t.match(dry, { code: 3, stderr: '' })
  const atTop = orphans.filter(key => key.split('/').length === 2)
  t.strictSame(
    sorted(dry.stdout),
    sorted([
      ...lines.filter(line => !atTop.some(key => line.startsWith(`object ${key}:`))),
      '4 items checked, 2 of the replaced system not judged: 7 inconsistent.',
      ''
    ].join('\n')),
    'during an upload, objects outside a folder are not reported'
  )
  await endUpload()
  t.strictSame(await everything(), state, 'a dry run writes nothing')

  const endSecond = await beginUpload(inFlight)
  t.match(await run(['--fix']), {
    code: 3,
    stdout: new RegExp(`library ${lost.id}: its original is missing, so it cannot be served; removed\n`)
  })
  await endSecond()
  for (const key of inFlightKeys) await lose(key)
  const rest = await runProcess(['--fix'])
  t.match(rest, {
    code: 3,
    stdout: /\n3 items checked, 2 of the replaced system not judged: 2 repaired, 1 inconsistent\.\n$/
  })
  t.strictSame(
    sorted(rest.stdout).filter(line => /^(object|library) /.test(line)),
    [...atTop.map(key => `object ${key}: no item has it; removed`), broken].sort()
  )
  t.strictSame(
    await run(),
    {
      code: 3,
      stdout: `${broken}\n3 items checked, 2 of the replaced system not judged: 1 inconsistent.\n`,
      stderr: ''
    },
    'only the fault that it cannot repair is left'
  )

  t.equal(await findItem(service, lost.id), null)
  t.strictSame((await findItem(service, halved.id))!.renditions, [rendition('64x64')])
  const { objects } = await everything()
  t.strictSame(
    ['incoming/fox', 'elsewhere/fox.gif', sound.key, cut.key].filter(key => !objects.includes(key)),
    [],
    'objects that belong to no item folder stay'
  )
  t.notOk(objects.some(key => orphans.includes(key) || key.startsWith(lost.key.replace('original.gif', ''))))
  await put(cut.key, gif)
  t.match(await run(), { code: 0, stdout: /: consistent\.\n$/ })
  t.notMatch(dry.stdout + rest.stdout, phone.slice(-4), 'no number')
})

t.test('npm run check-library --fix beside uploads and removals finds no fault in them and removes nothing', async t => {
  t.teardown(clear)
  const working = { on: true }
  const kept: string[] = []
  const work = async (nth: number) => {
    for (let i = 0; working.on; i++) {
      const { status, body: { id } } = await service.upload(token, gif)
      t.equal(status, 201)
      if ((i + nth) % 2) kept.push(id)
      else t.equal((await service.call('DELETE', `/library/${id}`, { token })).status, 204)
    }
  }
  const workers = [work(0), work(1)]
  for (let runs = 0; runs < 12 || kept.length < 6; runs++) {
    t.match(await run(['--fix']), {
      code: 0,
      stdout: /^\d+ items checked, 0 of the replaced system not judged: consistent\.\n$/,
      stderr: ''
    })
  }
  working.on = false
  await Promise.all(workers)
  t.equal(await library.countDocuments({ _id: { $in: kept.map(id => new ObjectId(id)) } }), kept.length)
  t.strictSame(await run(), {
    code: 0,
    stdout: `${kept.length} items checked, 0 of the replaced system not judged: consistent.\n`,
    stderr: ''
  })
})

t.test('npm run check-library with thousands of rows and objects reads both streams to their ends', async t => {
  await insertItems(service, 1030, i => ({
    key: `library/many-${String(i).padStart(5, '0')}/original.gif`,
    owner,
    size: 1,
    created_at: new Date()
  }))
  const rows = await library.find({ key: /^library\/many-/ }).sort({ key: 1 }).toArray()
  const missing = new Set([0, 999, 1000, 1001, 1029].map(i => rows[i]!.key))
  const keys = rows.flatMap(({ key }) => missing.has(key) ? [] : [key!])
  for (let i = 0; i < keys.length; i += 100) {
    await Promise.all(keys.slice(i, i + 100).map(key => put(key, Buffer.alloc(1))))
  }
  const found = rows.filter(({ key }) => missing.has(key)).map(({ _id }) =>
    `library ${_id.toHexString()}: its original is missing, so it cannot be served`)
  const { code, stdout, stderr } = await run()
  t.equal(code, 3, stderr)
  t.strictSame(stdout.split('\n').slice(0, -2), found)
  await library.deleteMany({ _id: { $in: rows.slice(1020).map(({ _id }) => _id) } })
  t.match(await run(['--fix']), { code: 0, stdout: / 13 repaired\.\n$/ })
  t.match(await run(), { code: 0, stdout: /: consistent\.\n$/ })
})

t.test(
  'npm run check-library with a wrong argument or during a failure prints one sentence, and of a value host and port',
  async t => {
    t.strictSame(await runProcess(['--fixed']), { code: 2, stdout: '', stderr: 'Usage: npm run check-library [-- --fix]\n' })
    t.strictSame(await run(['hidden']), { code: 2, stdout: '', stderr: 'Usage: npm run check-library [-- --fix]\n' })
    t.match(await run([], { MONGO_URI: '' }), {
      code: 1,
      stdout: '',
      stderr: /^MONGO_URI and S3_BUCKET must be set[^\n]*\n$/
    })
    t.match(await run([], { MONGO_URI: 'postgres://hidden' }), {
      code: 1,
      stdout: '',
      stderr: /^[^\n]*MONGO_URI must begin with mongodb[^\n]*\n$/
    })
    t.match(await unreachable, {
      code: 1,
      stdout: '',
      stderr: /^MongoDB cannot be reached at MONGO_URI \(127\.0\.0\.1:1\)[^\n]*\n$/
    })
    const noBucket = await run([], { S3_BUCKET: 'hidden-bucket' })
    t.match(noBucket, { code: 1, stdout: '', stderr: /^The bucket S3_BUCKET cannot be reached[^\n]*\n$/ })
    const proxy = await s3Proxy({ endpoint: service.services.s3.endpoint })
    t.teardown(() => proxy.close())
    proxy.fault({ operation: 'ListObjectsV2', action: { do: 'answer', status: 403, code: 'AccessDenied' } })
    const refused = await run([], { S3_ENDPOINT: proxy.endpoint })
    t.match(refused, { code: 1, stdout: '', stderr: /^The check stopped; what is repaired stays repaired[^\n]*\n$/ })
    for (const { stderr } of [await unreachable, noBucket, refused]) t.notMatch(stderr, /hidden/)
  }
)

/** An item as an upload leaves it, with renditions. */
async function item (sizes: string[]): Promise<{ id: string, key: string }> {
  const { body: { id } } = await ok(service.upload(token, gif))
  const key = (await findItem(service, id))!.key!
  if (sizes.length > 0) {
    for (const size of sizes) await put(key.replace('original.gif', `${size}.gif`))
    await library.updateOne({ _id: new ObjectId(id as string) }, { $set: { renditions: sizes.map(rendition) } })
  }
  return { id, key }
}

/** Two items of the replaced system, whose files are elsewhere. */
async function insertOldItems (): Promise<void> {
  await library.insertMany([
    { _id: new ObjectId(), url: 'https://old-bucket.example.com/fox.gif', user_id: 'meera', created_at: new Date() },
    { _id: new ObjectId(), url: '', user_id: 'ravi', created_at: new Date() }
  ])
}

/** The record of an upload that is in progress. Resolves with a function that removes it. */
async function beginUpload (key: string): Promise<() => Promise<void>> {
  const _id = new ObjectId()
  await uploads.insertOne({ _id, key, owner, state: 'open', started_at: new Date() })
  return async () => { await uploads.deleteOne({ _id }) }
}

/** Empties the library for the next test. */
async function clear (): Promise<void> {
  await Promise.all([library.deleteMany({}), uploads.deleteMany({})])
  const { objects } = await service.remains()
  for (let i = 0; i < objects.length; i += 100) await Promise.all(objects.slice(i, i + 100).map(lose))
}

async function everything (): Promise<{
  objects: string[]
  rows: unknown[]
} & Pick<Awaited<ReturnType<Service['remains']>>, 'multipartUploads'>> {
  const { objects, multipartUploads } = await service.remains()
  return {
    objects,
    multipartUploads,
    rows: [await library.find().sort({ _id: 1 }).toArray(), await uploads.find().toArray()]
  }
}

const sorted = (output: string) => output.split('\n').sort()
