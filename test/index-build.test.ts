import { MongoClient } from 'mongodb'
import t from 'tap'
import { buildApp } from '../app.js'
import { completeConfig, readConfig } from '../services/config.js'
import { databaseName } from '../services/database.js'
import { environment, startServices } from './helpers/backends.js'
import { freshPhone } from './helpers/accounts.js'
import { eventually } from './helpers/wait.js'
import { tcpProxy } from './helpers/tcp-proxy.js'

t.setTimeout(1_200_000)
const services = await startServices(t)
const uri = new URL(services.mongoUri)
const client = await new MongoClient(services.mongoUri).connect()
t.teardown(() => client.close())
const db = client.db(databaseName(services.mongoUri))

const boot = (mongoUri: string, lines: string[] = []) => buildApp({
  config: completeConfig(readConfig({ ...environment(services), MONGO_URI: mongoUri }), {}),
  logger: { level: 'info', stream: { write: (line: string) => { lines.push(line) } } }
})

t.test(
  'A start waits for an index build during which the database does not answer, and logs it',
  async t => {
    const proxy = await tcpProxy({ host: uri.hostname, port: Number(uri.port) })
    t.teardown(proxy.close)
    const through = new URL(services.mongoUri)
    through.host = `127.0.0.1:${proxy.port}`
    await db.dropDatabase()
    const lines: string[] = []
    proxy.latency(100)
    const starting = boot(through.href, lines)
    await eventually(async () => (await db.listCollections().toArray()).length > 0, 'the first collection is there')
    proxy.throttle(0, 'down')
    const progress = () => lines.filter(line => line.includes('index.build_continued'))
    await eventually(() => progress().length >= 3, 'three lines of progress') // by then the driver's monitor has given up its server
    await proxy.up()
    const app = await starting
    t.equal((await app.inject('/health/ready')).statusCode, 200)
    t.match(progress()[0], /"collection":"\w+","index":"\w+","seconds":\d+/)
    await app.close()
  }
)

t.test('An index with other options is reported by its name and its collection', async t => {
  const library = db.collection('library')
  await library.dropIndex('key_1')
  await library.createIndex({ key: 1 }, { unique: true })
  await t.rejects(boot(services.mongoUri), {
    message: /^MongoDB at MONGO_URI refuses the index key_1 of the collection library: one with this name or this key, and other options, is there\./
  })
  await library.dropIndex('key_1')
})

t.test('Rows that share a number or a name are reported by an example without a whole number', async t => {
  const users = db.collection('users')
  for (const { field, value, shown } of [
    { field: 'number', value: freshPhone(), shown: /^\+\*+\d{4}$/ },
    { field: 'username_key', value: '98765 43210', shown: /^\*{5} \*\d{4}$/ },
    { field: 'username_key', value: 'meera', shown: /^meera$/ }
  ] as const) {
    await users.dropIndexes()
    const { insertedIds } = await users.insertMany([1, 2].map(() => ({ username: 'twin', schema: 2, [field]: value })))
    const message: string = await boot(services.mongoUri).then(() => 'accepted', (error: Error) => error.message)
    const [
      , index, ids, example = ''
    ] = /refuses the index (\w+) of the collection users: rows have the same \w+, for example (\w{24} and \w{24}) \((.*)\)\./.exec(
      message
    ) ??
      []
    t.equal(index, `unique_${field}`, message)
    t.same(ids?.split(' and ').sort(), Object.values(insertedIds).map(String).sort())
    t.match(example, shown)
    t.notOk(field === 'number' && message.includes(value))
    await users.deleteMany({ username: 'twin' })
  }
  const app = await boot(services.mongoUri)
  await app.close()
})
