import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MongoClient, ObjectId } from 'mongodb'
import { environment, production, TEST_CODE, TEST_NUMBERS } from './environment.js'
import { fill } from './library.js'
import { freePort } from './listen.js'
import { launch, start } from './processes.js'
import { pythonPackages } from './python.js'
import { post } from './send.js'
import { signToken } from './token.js'
import { usageOf } from './usage.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const flaskFolder = fileURLToPath(new URL('../contenders/flask', import.meta.url))
const FLASK_THREADS = '16'
const BUNDLE = 'dist.image'

/** The program of the image, as the Dockerfile makes it. Returns the command that starts it. */
export function bundle () {
  execFileSync(process.execPath, ['deploy/bundle.js', BUNDLE], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
  return [process.execPath, `${BUNDLE}/server.js`]
}

/**
 * The stores, and a way to start servers on them. Each server has a database of its own with the same `rows`, and its
 * output goes to a file. `toUri` may change the address of the database for the service.
 */
export async function makeBed (rows) {
  const folder = mkdtempSync(join(tmpdir(), 'hookaba-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const [sink, sms, mongo] = [
    await start('s3-sink.js', { env: { KEEP: 'on' } }),
    await start('sms-sink.js'),
    process.env.MONGO_URI ? undefined : await start('mongo.js')
  ]
  const client = await new MongoClient(process.env.MONGO_URI ?? mongo.uri).connect()
  const ways = []
  return {
    sink,
    sms,
    ways,
    startService: async (name, { env, program, toUri = uri => uri } = {}) => {
      const stores = await prepare(name)
      return keep(await startService(name, { ...stores, mongoUri: await toUri(stores.mongoUri) }, { env, program }))
    },
    /** Several processes of the service on one database, as in the image. */
    async startInstances (count, { toUri }) {
      const stores = await prepare('instances')
      const mongoUri = await toUri(stores.mongoUri)
      const program = bundle()
      const services = []
      for (let i = 0; i < count; i++) {
        const log = `${stores.log}-${i}`
        const options = { program, isSignedIn: i === 0 }
        services.push(keep(await startService(`instance ${i}`, { ...stores, mongoUri, log }, options)))
      }
      return services
    },
    startContender: async (name, program) => keep(await startContender(name, program, await prepare(name))),
    async startFlask (name) {
      const programs = await pythonPackages('flask', join(flaskFolder, 'requirements.txt'))
      return programs && keep(await startFlask(name, programs, await prepare(name)))
    },
    async close () {
      await Promise.all(ways.map(way => way.stop()))
      for (const { db } of ways) await db.dropDatabase()
      await client.close()
      await Promise.all([sink, sms, mongo].map(server => server?.stop()))
    }
  }

  function keep (way) {
    ways.push(way)
    return way
  }

  async function prepare (name) {
    const id = name.toLowerCase().replaceAll(/\W+/g, '-')
    const uri = new URL(process.env.MONGO_URI ?? mongo.uri)
    uri.pathname = `/hookaba-bench-${id}`
    const db = client.db(uri.pathname.slice(1))
    await db.dropDatabase()
    await fill(db, rows)
    return { db, mongoUri: uri.href, endpoint: sink.endpoint, log: join(folder, `${id}.log`) }
  }
}

/** The service in production with its log on, by the script of `npm start` or by `program`. Two users sign in. */
async function startService (name, { db, log, ...stores }, { env, program, isSignedIn = true }) {
  const port = await freePort()
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  const server = { url: `http://127.0.0.1:${port}` }
  Object.assign(server, await launch(name, program ?? ['sh', '-c', scripts.start], {
    cwd: root,
    log,
    url: `${server.url}/health/ready`,
    env: { ...production(stores), PORT: port, ...env }
  }))
  const started = await usageOf(server.pid)
  if (!isSignedIn) return { ...server, name, db, started }
  const [token, otherToken] = [await signIn(server, 0), await signIn(server, 1)]
  await createUser(server, token, 0)
  return { ...server, name, db, started, token, other: await createUser(server, otherToken, 1) }
}

/** Signs in with one of the test numbers. Resolves with the token. */
export async function signIn (server, i) {
  const phone = TEST_NUMBERS[i]
  await post(server, '/auth/request-otp', { phone })
  return (await post(server, '/auth/verify-otp', { phone, otp: TEST_CODE })).access_token
}

/** Gives the account of a test number a name. Resolves with its id. */
export async function createUser (server, token, i) {
  const headers = { authorization: `Bearer ${token}` }
  return (await post(server, '/users', userOf(i), undefined, headers, 201)).user_id
}

export const userOf = i => ({ username: `user ${i}`, number: TEST_NUMBERS[i] })

async function startContender (name, program, { db, log, ...stores }) {
  const users = await insertUsers(db)
  const env = { ...environment(stores), NODE_ENV: 'production' }
  const server = await start(program, { measured: true, env })
  return contender(name, server, db, env, users)
}

async function startFlask (name, programs, { db, log, ...stores }) {
  const users = await insertUsers(db)
  const env = { ...environment(stores), PYTHONDONTWRITEBYTECODE: '1' }
  const address = `127.0.0.1:${await freePort()}`
  const url = `http://${address}`
  const server = await launch(name, [
    join(programs, 'gunicorn'),
    ...['--bind', address, '--workers', '1', '--worker-class', 'gthread', '--threads', FLASK_THREADS],
    ...['--keep-alive', '75', 'app:create_app()']
  ], { cwd: flaskFolder, log, url, env })
  return contender(name, { ...server, url }, db, env, users)
}

const contender = async (name, server, db, env, [caller, other]) => ({
  ...server,
  name,
  db,
  started: await usageOf(server.pid),
  token: signToken(env.JWT_SECRET_KEY, caller.toHexString()),
  other: other.toHexString()
})

async function insertUsers (db) {
  const users = [0, 1].map(i => ({ _id: new ObjectId(), ...userOf(i), created_on: new Date() }))
  await db.collection('users').insertMany(users)
  return users.map(({ _id }) => _id)
}
