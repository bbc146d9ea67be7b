import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MongoClient, ObjectId } from 'mongodb'
import { createUser, signIn } from './harness/bed.js'
import { production } from './harness/environment.js'
import { freePort } from './harness/listen.js'
import { launch, start } from './harness/processes.js'
import { printGoal, printTable } from './harness/rounds.js'
import { get } from './harness/send.js'
import { usageOf } from './harness/usage.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const DATABASE = 'hookaba-bench-migration'
const BATCH = 10_000
/** Between two requests to the service while the migration runs. */
const PAUSE_MS = 100
const MIB = 1024 * 1024

/** How people typed a number of ten digits. Every hundredth user has the number of the user before. */
const FORMS = [
  digits => `+91${digits}`,
  digits => digits,
  digits => `0${digits}`,
  digits => `+91 ${digits.slice(0, 5)} ${digits.slice(5)}`
]

/** Takes over a database of the replaced system while the service answers: duration, memory, what clients notice. */
export async function migration ({ quick }) {
  const rows = quick ? 20_000 : 1_000_000
  const folder = mkdtempSync(join(tmpdir(), 'hookaba-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const sink = await start('s3-sink.js')
  const mongo = process.env.MONGO_URI ? undefined : await start('mongo.js')
  const uri = new URL(process.env.MONGO_URI ?? mongo.uri)
  uri.pathname = `/${DATABASE}`
  const client = await new MongoClient(uri.href).connect()
  const db = client.db()
  await db.dropDatabase()
  await fillOld(db, rows)
  const env = production({ mongoUri: uri.href, endpoint: sink.endpoint })

  const dry = await run(['--dry-run'], env, join(folder, 'dry'))
  const whole = run([], env, join(folder, 'real'))
  while (await db.collection('users').countDocuments({ schema: 2 }, { limit: 1 }) === 0) await sleep(PAUSE_MS)
  const beside = await serve('beside', env, folder)
  const latencies = await readUntil(whole, beside)
  await beside.stop()
  const real = await whole
  const again = await run([], env, join(folder, 'again'))
  const restarted = performance.now()
  const after = await serve('after', env, folder)
  const startSeconds = (performance.now() - restarted) / 1000
  await after.stop()

  printTable(`${rows} users and ${rows} items`, ['run', 'seconds', 'CPU seconds', 'largest memory', 'lines of progress'], [
    ['dry run', dry], ['the migration', real], ['a second run, with nothing to do', again]
  ].map(([name, { seconds, cpuSeconds, memory, progress }]) =>
    [name, seconds.toFixed(0), cpuSeconds.toFixed(0), `${Math.round(memory / MIB)} MB`, progress]))
  printTable('GET /library while it runs', ['requests', 'p50', 'p99', 'slowest'], [
    [latencies.length, ...[0.5, 0.99, 1].map(share => `${at(latencies, share).toFixed(0)} ms`)]
  ])
  const left = await db.collection('users').countDocuments({ schema: { $ne: 2 } })
  printGoal(left === 0, `${left} users are not converted (goal: none)`)
  printGoal(startSeconds <= 10, `the service starts ${startSeconds.toFixed(1)} s after it (goal: seconds)`)
  await db.dropDatabase()
  await client.close()
  await Promise.all([sink.stop(), mongo?.stop()])
}

async function fillOld (db, rows) {
  for (let from = 0; from < rows; from += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, rows - from) }, (_, i) => from + i)
    await db.collection('users').insertMany(batch.map(userRow), { ordered: false })
    await db.collection('library').insertMany(batch.map(itemRow), { ordered: false })
  }
}

function userRow (n) {
  const isRepeat = n % 100 === 99
  const digits = String(6_000_000_000 + n - (isRepeat ? 1 : 0))
  return {
    _id: idOf(n),
    username: `Person ${n}`,
    number: FORMS[n % FORMS.length](digits),
    admin: false,
    created_on: new Date(1_600_000_000_000 + n)
  }
}

const itemRow = n => ({
  _id: idOf(n),
  url: `https://old-bucket.s3.amazonaws.com/${n}.gif`,
  user_id: String(idOf(n)),
  created_at: new Date(1_600_000_000_000 + n).toISOString().slice(0, -1)
})

const idOf = n => new ObjectId(`5f000000${n.toString(16).padStart(16, '0')}`)

/** Runs the command to its end. Samples its memory. */
async function run (args, env, log) {
  const began = performance.now()
  const child = spawn(process.execPath, ['dist/cli/migrate.js', ...args], {
    cwd: root,
    env: { ...process.env, ...env, S3_BUCKET: '', NODE_ENV: 'development', NODE_NO_WARNINGS: '1' },
    stdio: ['ignore', openSync(log, 'w'), openSync(`${log}.progress`, 'w')]
  })
  const ended = once(child, 'exit')
  let usage = { cpuSeconds: 0, memory: 0 }
  while (child.exitCode === null && child.signalCode === null) {
    await Promise.race([ended, sleep(PAUSE_MS)])
    const { cpuSeconds, memory } = await usageOf(child.pid)
    usage = { cpuSeconds: Math.max(cpuSeconds, usage.cpuSeconds), memory: Math.max(memory, usage.memory) }
  }
  const [code] = await ended
  const progress = readFileSync(`${log}.progress`, 'utf8')
  if (code !== 0) throw new Error(`the migration ended with ${code}: ${progress}`)
  return { ...usage, seconds: (performance.now() - began) / 1000, progress: progress.split('\n').length - 1 }
}

async function serve (name, env, folder) {
  const port = await freePort()
  const server = { url: `http://127.0.0.1:${port}` }
  const { stop } = await launch(name, [process.execPath, 'dist/server.js'], {
    cwd: root,
    log: join(folder, `${name}.log`),
    url: `${server.url}/health/ready`,
    env: { ...env, PORT: port },
    isMeasured: false
  })
  const token = await signIn(server, 0)
  await createUser(server, token, 0)
  return { ...server, token, stop }
}

/** Reads a page again and again until the work ends. Resolves with the milliseconds that each took, in order. */
async function readUntil (work, server) {
  const latencies = []
  const done = Symbol('done')
  const ended = work.then(() => done)
  while (await Promise.race([ended, sleep(PAUSE_MS)]) !== done) {
    const began = performance.now()
    await get(server, '/library')
    latencies.push(performance.now() - began)
  }
  return latencies.sort((a, b) => a - b)
}

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
