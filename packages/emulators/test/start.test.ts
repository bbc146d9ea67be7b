import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import {
  GetObjectCommand,
  HeadBucketCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  S3Client
} from '@aws-sdk/client-s3'
import { MongoClient } from 'mongodb'
import t, { type Test } from 'tap'
import { lockFolder } from '../lock.js'
import type { Embedded } from '../start.js'

/** The emulators as `npm run build` makes them. */
const compiled = fileURLToPath(new URL('..', import.meta.url))
const { startEmbedded, startOrJoin } = await import(
  pathToFileURL(join(compiled, 'start.js')).href
) as typeof import('../start.js')

function s3Of (embedded: Pick<Embedded, 's3'>): S3Client {
  const { endpoint, region, accessKeyId = '', secretAccessKey = '' } = embedded.s3 ?? {}
  return new S3Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey } })
}

async function regionOf (embedded: Pick<Embedded, 's3'>): Promise<string | undefined> {
  const client = s3Of(embedded)
  const { BucketRegion } = await client.send(new HeadBucketCommand({ Bucket: 'hookaba' }))
  client.destroy()
  return BucketRegion
}

/** Runs the command line in a process of its own and waits for its first lines. */
async function run (t: Test, env: Record<string, string>): Promise<{
  child: ChildProcess
  lines: Record<string, string>
  stderr: () => string
}> {
  const child = spawn(process.execPath, [join(compiled, 'main.js')], {
    env: { PATH: process.env.PATH, EMBEDDED_MONGO_PORT: '', EMBEDDED_S3_PORT: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  t.teardown(() => child.kill('SIGKILL'))
  let [out, err] = ['', '']
  child.stderr.on('data', chunk => { err += chunk })
  child.stdout.on('data', chunk => { out += chunk })
  while (!out.includes('S3_FORCE_PATH_STYLE') &&
    child.exitCode === null) await Promise.race([once(child.stdout, 'data'), once(child, 'close')])
  return {
    child,
    lines: Object.fromEntries(out.trim().split('\n').map(line =>
      [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])),
    stderr: () => err
  }
}

t.test('startOrJoin', async t => {
  t.test('uses the emulators of the process that has the folder, and leaves them running', async t => {
    const dataDir = t.testdir()
    const first = await startEmbedded({ dataDir, mongo: true, s3: true })
    t.teardown(first.close)
    const { mongo, s3, isJoined, close } = await startOrJoin({ dataDir, mongo: true, s3: true })
    t.same({ mongo, s3, isJoined }, { mongo: first.mongo, s3: first.s3, isJoined: true })
    await close()
    t.equal(await regionOf(first), 'us-east-1')
  })

  t.test('starts them where no process has the folder', async t => {
    const dataDir = t.testdir()
    const own = await startOrJoin({ dataDir, s3: true })
    t.equal(own.isJoined, undefined)
    t.equal(await regionOf(own), 'us-east-1')
    await own.close()
    await (await startEmbedded({ dataDir, s3: true })).close()
  })

  t.test('names the variable of a port that is not kept, and uses the one that is given', async t => {
    const dataDir = t.testdir()
    const squatter = createServer().listen(0, '127.0.0.1')
    await once(squatter, 'listening')
    const { port } = squatter.address() as AddressInfo
    squatter.close()
    await once(squatter, 'close')
    const first = await startEmbedded({ dataDir, s3: true, s3Port: port })
    t.teardown(first.close)
    await t.rejects(startOrJoin({ dataDir, s3: true }), { message: /^Process \d+.* embedded S3 .*EMBEDDED_S3_PORT/ })
    t.equal((await startOrJoin({ dataDir, s3: true, s3Port: port })).s3?.endpoint, first.s3?.endpoint)
    await t.rejects(startOrJoin({ dataDir, mongo: true }), { message: /embedded MongoDB .*EMBEDDED_MONGO_PORT/ })
  })

  t.test('says so when the process that has the folder has written no ports yet', async t => {
    const dataDir = t.testdir()
    const unlock = lockFolder(dataDir)
    t.teardown(unlock)
    await t.rejects(startOrJoin({ dataDir, s3: true }), { message: /^Process \d+.* has just begun: try again/ })
  })
})

t.test('startEmbedded', async t => {
  t.test('data, ports and credentials stay for the next process, however the last one ended', async t => {
    const dataDir = t.testdir()
    const first = await startEmbedded({ dataDir, mongo: true, s3: true })
    const mongo = new MongoClient(first.mongo?.uri ?? '')
    await mongo.db().collection('things').insertOne({ name: 'kept' })
    await mongo.close()
    t.equal(await regionOf(first), 'us-east-1')
    await t.rejects(
      startEmbedded({ dataDir, s3: true }),
      { message: /in use by process \d+.*DATA_DIR/ },
      'one holder in this process'
    )
    t.equal(await regionOf(first), 'us-east-1', 'the holder is not disturbed')
    await first.close()
    await t.resolves(first.exited)
    t.equal((await stat(join(dataDir, 'embedded.json'))).mode & 0o777, 0o600)

    const second = await run(t, { DATA_DIR: dataDir })
    t.same(Object.entries(second.lines), Object.entries({
      MONGO_URI: first.mongo?.uri,
      S3_ENDPOINT: first.s3?.endpoint,
      S3_BUCKET: 'hookaba',
      AWS_ACCESS_KEY_ID: first.s3?.accessKeyId,
      AWS_SECRET_ACCESS_KEY: first.s3?.secretAccessKey,
      S3_REGION: 'us-east-1',
      S3_FORCE_PATH_STYLE: 'true'
    }))
    t.equal(await regionOf(first), 'us-east-1')
    await t.rejects(
      startEmbedded({ dataDir, s3: true }),
      { message: new RegExp(`in use by process ${second.child.pid}`) },
      'one holder among processes'
    )
    const killed = once(second.child, 'close')
    second.child.kill('SIGKILL')
    await killed

    const third = await run(t, { DATA_DIR: dataDir })
    t.same(third.lines, second.lines, 'the lock of a killed holder is free')
    const again = new MongoClient(first.mongo?.uri ?? '')
    t.equal((await again.db().collection('things').findOne({}))?.name, 'kept')
    await again.close()
    const ended = once(third.child, 'close')
    third.child.kill('SIGTERM')
    t.same(await ended, [0, null])
  })

  t.test('starts only what is asked for', async t => {
    const embedded = await startEmbedded({ dataDir: t.testdir(), s3: true })
    t.teardown(embedded.close)
    t.notOk(embedded.mongo)
    t.equal(await regionOf(embedded), 'us-east-1')
  })

  t.test('names the port and its variable when a port is taken; a given port is used and not kept', async t => {
    const squatter = createServer().listen(0, '127.0.0.1')
    await once(squatter, 'listening')
    const { port } = squatter.address() as AddressInfo
    const dataDir = t.testdir()
    await t.rejects(startEmbedded({ dataDir, mongo: true, mongoPort: port }), {
      message: new RegExp(`^Port ${port} of the embedded MongoDB is taken.*EMBEDDED_MONGO_PORT`)
    })
    await t.rejects(startEmbedded({ dataDir, s3: true, s3Port: port }), {
      message: new RegExp(`^Port ${port} of the embedded S3 is taken.*EMBEDDED_S3_PORT`)
    })
    t.notOk(existsSync(join(dataDir, 's3')), 'nothing was touched')
    squatter.close()
    await once(squatter, 'close')
    const embedded = await startEmbedded({ dataDir, s3: true, s3Port: port })
    t.equal(embedded.s3?.endpoint, `http://127.0.0.1:${port}`)
    await embedded.close()
    t.same(
      Object.keys(JSON.parse(await readFile(join(dataDir, 'embedded.json'), 'utf8'))),
      ['accessKeyId', 'secretAccessKey', 'made']
    )
  })

  t.test('says when an emulator has ended by itself', async t => {
    const folder = t.testdir()
    const [dataDir, script] = [join(folder, 'data'), join(folder, 'die.mjs')]
    await writeFile(script, `import { Worker } from 'node:worker_threads'
      let worker
      const once = Worker.prototype.once
      Worker.prototype.once = function (...args) { worker = this; return once.apply(this, args) }
      const { startEmbedded } = await import(${JSON.stringify(pathToFileURL(join(compiled, 'start.js')).href)})
      const embedded = await startEmbedded({ dataDir: ${JSON.stringify(dataDir)}, s3: true })
      worker.terminate()
      await embedded.exited.catch(error => console.log(error.message))
      process.exit()`)
    const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [text] = await once(child.stdout, 'data')
    t.equal(String(text), 'The embedded S3 has ended by itself\n')
  })

  t.test('says so when embedded.json is damaged', async t => {
    const dataDir = t.testdir({ 'embedded.json': '{"s3Port":' })
    await t.rejects(startEmbedded({ dataDir, s3: true }), { message: /embedded\.json is damaged/ })
  })

  t.test('keeps what it writes, and what earlier versions wrote, to its owner', async t => {
    const dataDir = join(t.testdir(), 'data')
    await (await startEmbedded({ dataDir, mongo: true, s3: true })).close()
    const paths = async () => ['.', ...await readdir(dataDir, { recursive: true })].map(name => join(dataDir, name))
    const open = async () => (await Promise.all((await paths()).map(async path => ({
      path,
      mode: (await stat(path)).mode & 0o077
    })))).filter(
      ({ mode }) => mode !== 0
    )
    t.same(await open(), [])
    for (const path of await paths()) {
      if (path !== join(dataDir, '.')) await chmod(path, (await stat(path)).isDirectory() ? 0o755 : 0o644)
    }
    await (await startEmbedded({ dataDir, mongo: true, s3: true })).close()
    t.same(await open(), [])
  })

  t.test('reports a damaged or missing file of its stores, and begins nothing anew', async t => {
    for (const [path, damages] of [
      ['mongo', ['nothing', 'garbage', 'half', 'gone']],
      ['s3/meta', ['garbage', 'half', 'gone']],
      ['lock', ['garbage']]
    ] as const) {
      for (const damage of damages) {
        const dataDir = t.testdir()
        const asked = path === 's3/meta' ? { dataDir, s3: true } : { dataDir, mongo: true }
        const made = await startEmbedded(asked)
        if (made.mongo) {
          const client = new MongoClient(made.mongo.uri)
          await client.db().collection<{ text: string }>('things').insertMany(Array.from({ length: 500 }, (_, i) => ({
            text: `${i}`.repeat(100)
          })))
          await client.close()
        }
        await made.close()
        const file = join(dataDir, path, 'data.mdb')
        if (damage === 'gone') await rm(file)
        else {
          await writeFile(
            file,
            damage === 'nothing'
              ? ''
              : damage === 'garbage' ? Buffer.alloc(200_000, 'damage') : (await readFile(file)).subarray(0, 12_288)
          )
        }
        const outcome = await startEmbedded(asked).then(
          async embedded => { await embedded.close(); return 'started' },
          (error: Error) => error.message
        )
        t.match(
          outcome,
          damage === 'gone' ? /DATA_DIR .*data\.mdb is missing: restore it/ : /data\.mdb is damaged: restore DATA_DIR/,
          `${path}: ${damage}`
        )
      }
    }
  })

  t.test(
    'anonymous callers read the library and old objects but no staged upload, also in a bucket of an earlier version',
    async t => {
      const dataDir = t.testdir()
      const read = async (embedded: Embedded) => await Promise.all(
        ['library/1/original.gif', 'old.gif', 'incoming/1', 'other/x.gif'].map(async key =>
          (await fetch(`${embedded.s3?.endpoint}/hookaba/${key}`)).status)
      )
      const first = await startEmbedded({ dataDir, s3: true })
      const client = s3Of(first)
      for (const Key of ['library/1/original.gif', 'old.gif', 'incoming/1', 'other/x.gif']) {
        await client.send(new PutObjectCommand({ Bucket: 'hookaba', Key, Body: 'x' }))
      }
      t.same(await read(first), [200, 200, 403, 403])
      t.equal(
        await (await client.send(new GetObjectCommand({
          Bucket: 'hookaba',
          Key: 'incoming/1'
        }))).Body?.transformToString(),
        'x',
        'its owner reads it'
      )
      await client.send(new PutBucketPolicyCommand({
        Bucket: 'hookaba',
        Policy: JSON.stringify({
          Version: '2012-10-17',
          Statement: [
            {
              Sid: 'PublicRead',
              Effect: 'Allow',
              Principal: '*',
              Action: 's3:GetObject',
              Resource: 'arn:aws:s3:::hookaba/*'
            }
          ]
        })
      }))
      t.same(await read(first), [200, 200, 200, 200])
      client.destroy()
      await first.close()
      const second = await startEmbedded({ dataDir, s3: true })
      t.same(await read(second), [200, 200, 403, 403])
      await second.close()
    }
  )

  t.test('refuses production, and touches nothing', async t => {
    const before = process.env.NODE_ENV
    process.env.NODE_ENV = 'production'
    t.teardown(() => { before === undefined ? delete process.env.NODE_ENV : process.env.NODE_ENV = before })
    const dataDir = join(t.testdir(), 'data')
    await t.rejects(startEmbedded({ dataDir, mongo: true }), { message: /NODE_ENV=production.*MONGO_URI/ })
    t.notOk(existsSync(dataDir))
  })

  t.test('the command says one sentence and exits with 1 for a bad port', async t => {
    const { child, stderr } = await run(t, { DATA_DIR: t.testdir(), EMBEDDED_S3_PORT: '99999' })
    if (child.exitCode === null) await once(child, 'close')
    t.equal(child.exitCode, 1)
    t.equal(stderr(), 'EMBEDDED_S3_PORT must be a port number from 1 to 65535\n')
  })
})
