import { spawn } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { MongoClient } from 'mongodb'
import t from 'tap'

const main = fileURLToPath(new URL('../main.js', import.meta.url))
const PAGE = 4096
/** With DAMAGE_RUNS, so many cases of each kind of damage to each file are tried; otherwise a few of them all. */
const RUNS = Number(process.env.DAMAGE_RUNS ?? 0)
const FEW = 4
const SENTENCE = /^\S[^\n]* (is damaged|is missing|are missing): (restore|remove)[^\n]*\n$/

let seed = Number(process.env.DAMAGE_SEED ?? 5)
const random = (below: number): number => {
  const digest = createHash('sha256').update(`${seed++}`).digest()
  return digest.readUInt32LE() % below
}
const randomBytes = (length: number) => Buffer.from(Array.from({ length }, () => random(256)))

/** Runs both emulators on a folder until they are asked to end, or end by themselves. */
async function run (DATA_DIR: string, ports: Record<string, string>) {
  const child = spawn(process.execPath, [main], { env: { PATH: process.env.PATH, DATA_DIR, ...ports } })
  const closed = once(child, 'close')
  let [out, err] = ['', '']
  child.stdout.on('data', chunk => { out += chunk })
  child.stderr.on('data', chunk => { err += chunk })
  while (!out.includes('S3_FORCE_PATH_STYLE') && child.exitCode === null && child.signalCode === null) {
    await Promise.race([once(child.stdout, 'data'), closed])
  }
  const lines = Object.fromEntries(out.trim().split('\n').map(line => line.split(/=(.*)/s)))
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    await closed
    return { code: child.exitCode, signal: child.signalCode, err }
  }
  return { started: out.includes('S3_FORCE_PATH_STYLE'), lines, end }
}

/** Ports for runs one after the other. The system gives ports of this range to nobody who asks for any. */
async function freePorts (): Promise<Record<string, string>> {
  return { EMBEDDED_MONGO_PORT: await freePort(), EMBEDDED_S3_PORT: await freePort() }
}

async function freePort (): Promise<string> {
  for (;;) {
    const port = randomInt(20_000, 32_000)
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await once(server, 'listening').then(() => true, () => false)
    if (!isFree) continue
    await once(server.close(), 'close')
    return String(port)
  }
}

type Running = Awaited<ReturnType<typeof run>>

function clients ({ lines }: Running) {
  const s3 = new S3Client({
    endpoint: lines.S3_ENDPOINT,
    region: lines.S3_REGION,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: lines.AWS_ACCESS_KEY_ID, secretAccessKey: lines.AWS_SECRET_ACCESS_KEY }
  })
  const mongo = new MongoClient(lines.MONGO_URI, { serverSelectionTimeoutMS: 3000 })
  return { s3, mongo, rows: mongo.db().collection<{ _id: number, text?: string }>('rows') }
}

/** Documents on leaf pages and on overflow pages, with indexes, and objects. */
async function fill (running: Running): Promise<void> {
  const { s3, mongo, rows } = clients(running)
  await rows.createIndexes([{ key: { text: 1 } }, { key: { n: -1, _id: 1 } }])
  await rows.insertMany(Array.from({ length: 400 }, (_, n) => ({ _id: n, n, text: `${n}-`.repeat(20) })))
  await rows.insertMany(Array.from({ length: 8 }, (_, n) => ({ _id: 1000 + n, more: `${n}`.repeat(20_000) })))
  await rows.deleteMany({ n: { $gte: 350 } })
  for (let n = 0; n < 30; n++) {
    await s3.send(new PutObjectCommand({ Bucket: 'hookaba', Key: `library/${n}`, Body: `${n}`.repeat(500) }))
  }
  await mongo.close()
  s3.destroy()
}

/** A digest of everything that the emulators hold. */
async function contentOf (running: Running): Promise<string> {
  const { s3, mongo, rows } = clients(running)
  const digest = createHash('sha256')
  for (const row of await rows.find({ _id: { $gte: 0 } }).sort({ _id: 1 }).toArray()) digest.update(JSON.stringify(row))
  for (const row of await rows.find({ text: { $gt: '' } }).sort({ text: 1 }).toArray()) digest.update(`${row._id},`)
  for (let n = 0; n < 30; n++) {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'hookaba', Key: `library/${n}` }))
    digest.update(await Body!.transformToByteArray())
  }
  await rows.updateOne({ _id: -1 }, { $inc: { starts: 1 } }, { upsert: true })
  await s3.send(new PutObjectCommand({ Bucket: 'hookaba', Key: 'started', Body: 'x' }))
  await mongo.close()
  s3.destroy()
  return digest.digest('hex')
}

/** The ways to damage a file; each changes it in place. */
const damages: Record<string, (bytes: Buffer) => Buffer> = {
  cut: bytes => bytes.subarray(0, random(bytes.length)),
  'cut at a page': bytes => bytes.subarray(0, PAGE * random(bytes.length / PAGE)),
  zeros: bytes => { bytes.fill(0, ...page(bytes)); return bytes },
  'random bytes': bytes => { randomBytes(PAGE).copy(bytes, page(bytes)[0]); return bytes },
  'a few random bytes': bytes => { randomBytes(8).copy(bytes, random(bytes.length - 8)); return bytes },
  'swapped pages': bytes => {
    const [one, other] = [page(bytes), page(bytes)]
    const kept = Buffer.from(bytes.subarray(...one))
    bytes.copy(bytes, one[0], ...other)
    kept.copy(bytes, other[0])
    return bytes
  }
}
const page = (bytes: Buffer): [number, number] => {
  const start = PAGE * random(Math.max(1, bytes.length / PAGE))
  return [start, Math.min(start + PAGE, bytes.length)]
}

t.test('a damaged data folder works and is whole, or ends the start with one sentence', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'damage-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const [closed, killed] = [join(folder, 'closed'), join(folder, 'killed')]
  const ports = await freePorts()
  const first = await run(closed, ports)
  await fill(first)
  const whole = await contentOf(first)
  t.match(await first.end('SIGTERM'), { code: 0, err: '' })
  await cp(closed, killed, { recursive: true })
  const second = await run(killed, ports)
  t.equal(await contentOf(second), whole)
  await second.end('SIGKILL')

  const tally: Record<string, number> = {}
  const check = async (name: string, from: string, damage: (copy: string) => Promise<unknown>, lane = ports) => {
    const copy = await mkdtemp(join(folder, 'copy-'))
    await cp(from, copy, { recursive: true })
    await damage(copy)
    const running = await run(copy, lane)
    const content = running.started ? await contentOf(running).catch(error => `failed: ${String(error)}`) : ''
    const { code, signal, err } = await running.end('SIGTERM')
    const isFine = running.started ? content === whole && code === 0 && err === '' : code === 1 && SENTENCE.test(err)
    const outcome = running.started ? content === whole ? 'whole' : 'OTHER DATA' : signal ?? `exit ${code}`
    tally[`${name}: ${outcome}`] = (tally[`${name}: ${outcome}`] ?? 0) + 1
    if (!isFine) t.fail(`${name}: ${outcome} ${content.slice(0, 300)} ${err}`)
    await rm(copy, { recursive: true, force: true })
  }
  const cases: Array<(lane: Record<string, string>) => Promise<void>> = []
  for (const [how, from] of [['closed', closed], ['killed', killed]] as const) {
    for (const file of ['mongo/data.mdb', 's3/meta/data.mdb', 'lock/data.mdb', 'mongo/lock.mdb', 'embedded.json']) {
      for (const [damage, change] of Object.entries(damages)) {
        for (let at = 0; at < Math.max(1, RUNS); at++) {
          cases.push(lane => check(`${how} ${file} ${damage}`, from, async copy => {
            await writeFile(join(copy, file), change(await readFile(join(copy, file))))
          }, lane))
        }
      }
    }
    cases.push(lane => check(`${how} a blob is gone`, from, async copy => {
      const [blob = ''] = await readdir(join(copy, 's3/blobs'))
      await rm(join(copy, 's3/blobs', blob))
    }, lane))
    cases.push(lane => check(`${how} a blob is cut`, from, async copy => {
      const [blob = ''] = await readdir(join(copy, 's3/blobs'))
      await truncate(join(copy, 's3/blobs', blob), 3)
    }, lane))
    cases.push(lane => check(`${how} no lock file`, from, copy => rm(join(copy, 'mongo/lock.mdb')), lane))
  }
  if (RUNS === 0) while (cases.length > FEW) cases.splice(random(cases.length), 1)
  await Promise.all(Array.from({ length: 2 }, async () => {
    const lane = await freePorts()
    for (let next = cases.shift(); next !== undefined; next = cases.shift()) await next(lane)
  }))
  t.comment(tally)
})
