/**
 * Runs the tests against independent servers: SecantusDB (MongoDB's protocol) and the Versity S3 gateway.
 *
 * node test/real.js [options of run.js] [test files] every test but those of packages/ and of the process on its
 * defaults
 * node test/real.js --serve                         starts the two, prints the variables that lead to them, runs until
 * SIGINT
 *
 * Both are installed once into the user's cache; they are tools, never dependencies. If one cannot be installed (no
 * Python 3, no Go, no network), the script says so and does not fail; its tests run on the emulator. An
 * installed server that does not answer is a failure. Otherwise the exit code is tap's.
 */
import { CreateBucketCommand, ListBucketsCommand, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3'
import { MongoClient } from 'mongodb'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { constants, homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { runTests } from './run.js'

const SECANTUSDB = '0.7.0b3'
const VERSITYGW = 'v1.8.0'
const BUCKET = 'hookaba' // as in deploy/public-read-policy.json
const SETTINGS = ['MONGO_URI', 'S3_ENDPOINT', 'S3_BUCKET', 'S3_REGION', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']

class CannotTry extends Error {}

const root = fileURLToPath(new URL('..', import.meta.url))
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'hookaba-api')
const interruption = new AbortController()
const servers = []
const untried = []

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => interruption.abort(signal))

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (!interruption.signal.aborted) console.error(error)
  process.exitCode = 1
} finally {
  await Promise.all(servers.map((server) => server.stop()))
  for (const sentence of untried) console.error(`NOT TRIED: ${sentence}`)
  if (interruption.signal.aborted) process.exitCode = 128 + constants.signals[interruption.signal.reason]
}

async function main (args) {
  const serving = args.includes('--serve')
  const settings = Object.assign({}, await attempt(startSecantusDB), await attempt(startVersity))
  if (serving) {
    if (untried.length > 0) return 1
    for (const name of SETTINGS) console.log(`${name}=${settings[name]}`)
    return await untilInterrupted()
  }
  if (servers.length === 0) return 0
  const env = { ...process.env, TEST_REAL: '1' }
  for (const name of [...SETTINGS, 'AWS_SESSION_TOKEN', 'AWS_PROFILE']) delete env[name]
  return await runOnServers(args, { ...env, ...settings })
}

async function attempt (start) {
  try {
    return await start()
  } catch (error) {
    if (!(error instanceof CannotTry)) throw error
    untried.push(error.message)
  }
}

async function startSecantusDB () {
  const home = join(cache, `secantusdb-${SECANTUSDB}`)
  await install(`MongoDB's protocol on SecantusDB ${SECANTUSDB}`, home, [
    ['Python 3', 'python3', ['-m', 'venv', '--clear', home]],
    [
      'pip',
      join(home, 'bin/pip'),
      ['install', '--quiet', '--disable-pip-version-check', '--pre', `SecantusDB==${SECANTUSDB}`]
    ]
  ])
  const port = await freePort()
  const uri = `mongodb://127.0.0.1:${port}/?directConnection=true`
  await serve('SecantusDB', join(home, 'bin/secantusd-py'), (data) => [
    '--port', port, '--storage-path', data, '--enable-test-commands', '--log-level', 'WARNING'
  ], {}, async () => {
    const client = new MongoClient(uri, { serverSelectionTimeoutMS: 1000 })
    try { await client.db('admin').command({ ping: 1 }) } finally { await client.close() }
  })
  return { MONGO_URI: uri }
}

async function startVersity () {
  const home = join(cache, `versitygw-${VERSITYGW}`)
  await install(`S3 on the Versity gateway ${VERSITYGW}`, home, [
    ['Go', 'go', ['install', `github.com/versity/versitygw/cmd/versitygw@${VERSITYGW}`], { GOBIN: home }]
  ])
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const [region, accessKeyId, secretAccessKey] = ['us-east-1', 'hookaba-test', randomBytes(20).toString('hex')]
  const client = new S3Client({
    endpoint,
    forcePathStyle: true,
    region,
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: 1
  })
  await serve('The Versity gateway', join(home, 'versitygw'), (data) => [
    '--quiet', '--keep-alive', '--region', region, '--port', `127.0.0.1:${port}`, 'posix', data
  ], { ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey }, () => client.send(new ListBucketsCommand()))
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }))
  await client.send(new PutBucketPolicyCommand({
    Bucket: BUCKET,
    Policy: await readFile(join(root, 'deploy/public-read-policy.json'), 'utf8')
  }))
  client.destroy()
  return {
    S3_ENDPOINT: endpoint,
    S3_BUCKET: BUCKET,
    S3_REGION: region,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey
  }
}

async function runOnServers (args, env) {
  const named = args.some((arg) => !arg.startsWith('-') && existsSync(arg))
  const files = named ? [] : await testFiles()
  return await runTests(['--timeout=1200', '--jobs=1', ...args, ...files], { env, signal: interruption.signal })
}

async function testFiles () {
  const files = await readdir(join(root, 'test'), { recursive: true })
  return files
    .map((file) => join('test', file))
    .filter((file) =>
      file.endsWith('.test.ts') &&
        file !== join('test', 'process.test.ts'))
}

/** Does the steps once for each `home`. Throws CannotTry when a program is missing or a step fails. */
async function install (what, home, steps) {
  const done = join(home, '.installed')
  if (existsSync(done)) return
  console.error(`Installing, once: ${what} into ${home}`)
  await mkdir(home, { recursive: true })
  for (const [name, program, args, env] of steps) {
    const [code] = await exit(spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 2, 2],
      signal: interruption.signal
    }))
      .catch((error) => {
        if (error.code === 'ENOENT') throw new CannotTry(`${what}, because ${name} is not here`)
        throw error
      })
    if (code !== 0) throw new CannotTry(`${what}, because it could not be installed (${name} said why above)`)
  }
  await writeFile(done, '')
}

/** Starts a server on a new data folder and waits until it answers the probe, 30 seconds at most. */
async function serve (name, program, args, env, probe) {
  const data = await mkdtemp(join(tmpdir(), 'hookaba-real-'))
  const child = spawn(program, args(data), {
    cwd: data,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => { said = (said + chunk).slice(-4000) })
  }
  let stopping = false
  let ended
  const gone = exit(child).catch((error) => [error.message]).then(([why]) => {
    ended = why ?? 'by a signal'
    if (!stopping) console.error(`${name} ended (${ended}):\n${said}`)
  })
  servers.push({
    async stop () {
      stopping = true
      child.kill()
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000)
      await gone
      clearTimeout(timer)
      await rm(data, { recursive: true, force: true })
    }
  })
  for (const start = performance.now(); ;) {
    interruption.signal.throwIfAborted()
    const refusal = await probe().then(() => undefined, (error) => error)
    if (refusal === undefined) return
    if (ended !== undefined || performance.now() - start > 30_000) {
      throw new Error(`${name} does not answer`, { cause: refusal })
    }
    await sleep(50)
  }
}

async function freePort () {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** @returns [code, signal]; waits for the end of an aborted child too. */
function exit (child) {
  return new Promise((resolve, reject) => {
    child.on('error', (error) => { if (error.name !== 'AbortError') reject(error) }).on('exit', (...end) =>
      resolve(end))
  })
}

async function untilInterrupted () {
  const alive = setInterval(() => {}, 60_000)
  if (!interruption.signal.aborted) await once(interruption.signal, 'abort')
  clearInterval(alive)
  return 0
}
