import { createServer, connect, type AddressInfo } from 'node:net'
import { MongoClient } from 'mongodb'
import t, { type Test } from 'tap'
import type { IdempotencyDocument, LibraryDocument, UploadDocument, UserDocument } from '../schemas/documents.js'
import { bytesAt } from './helpers/bytes.js'
import { field, file, form, FORM_TYPE } from './helpers/multipart.js'
import { gif } from './helpers/small-pictures.js'
import { environment, startServices, withUriOption } from './helpers/backends.js'
import { freshPhone } from './helpers/accounts.js'
import { signInTo, startProcess, type ServerProcess } from './helpers/server-process.js'

/** The name and the collection of a command, as BSON has them. */
const command = (name: string, collection: string) => Buffer.concat([
  Buffer.from(`\x02${name}\0`),
  Buffer.from([collection.length + 1, 0, 0, 0]),
  Buffer.from(`${collection}\0`)
])
const ITEM_WRITTEN = command('delete', 'uploads')
const KEY_WRITTEN = command('update', 'idempotency')
const UPLOAD_MAX_SECONDS = 600

t.setTimeout(1_200_000)
const services = await startServices(t)
const mongo = await new MongoClient(services.mongoUri).connect()
t.teardown(() => mongo.close())
const library = mongo.db().collection<LibraryDocument>('library')
const uploads = mongo.db().collection<UploadDocument>('uploads')
const users = mongo.db().collection<UserDocument>('users')
const idempotency = mongo.db().collection<IdempotencyDocument>('idempotency')
const env = {
  ...environment(services),
  SWEEP_INTERVAL_SECONDS: '0',
  UPLOAD_MAX_SECONDS: String(UPLOAD_MAX_SECONDS)
}

/** The process that is killed. The last command of each of its requests never reaches the database. */
const database = await holdingProxy(t, services.mongoUri)
const killed = await startProcess(t, { ...env, MONGO_URI: database.uri })
const [first, second, third] = [await newCaller(), await newCaller(), await newCaller()]
await database.holdAt(KEY_WRITTEN, () => upload(killed, second.token, 'meera'))
await database.holdAt(KEY_WRITTEN, () => createUser(killed))
await database.holdAt(ITEM_WRITTEN, () => upload(killed, first.token, 'meera'))
await killed.kill('SIGKILL')
const service = await startProcess(t, env)

for (const { moment, caller: { token, owner } } of [
  { moment: 'just after the item was written', caller: first },
  { moment: 'before its answer could be remembered', caller: second }
]) {
  t.test(
    `POST /library/upload finds its item by the Idempotency-Key when the process was killed ${moment}`,
    async t => {
      t.equal(await library.countDocuments({ owner }), 1)
      t.equal(await idempotency.countDocuments({ owner, answer: { $exists: false } }), 1)

      const again = await upload(service, token, 'meera')
      t.equal(again.status, 201, 'the repeated request finds the item')
      t.equal(again.replayed, 'true')
      t.match(again.body, { message: 'File uploaded', user_id: 'meera', size: gif.length })
      t.equal((await bytesAt(again.body.url)).length, gif.length)
      t.equal(await library.countDocuments({ owner }), 1)
      t.equal(await uploads.countDocuments({ owner }), 0)
      t.strictSame(await upload(service, token, 'meera'), again)
      t.match(await upload(service, token, 'somebody else'), {
        status: 422,
        body: { error: 'This Idempotency-Key was used for another request' }
      })

      t.equal((await service.json('DELETE', `/library/${again.body.id}`, { token })).status, 204)
      const anew = await upload(service, token, 'meera')
      t.equal(anew.status, 201, 'once the item is deleted, the request runs anew')
      t.equal(anew.replayed, null)
      t.not(anew.body.id, again.body.id)
      t.equal(await library.countDocuments({ owner }), 1)
    }
  )
}

t.test(
  'POST /users finds its user by the Idempotency-Key when the process was killed before its answer was remembered',
  async t => {
    const { owner, number } = third
    t.equal(await users.countDocuments({ _id: owner, username: usernameOf(number) }), 1)
    t.equal((await createUser(service)).status, 409, 'the killed request may still be running')
    const { matchedCount } = await idempotency.updateOne(
      { owner, answer: { $exists: false } },
      { $set: { begun_at: new Date(Date.now() - 1000 * UPLOAD_MAX_SECONDS) } }
    )
    t.equal(matchedCount, 1)
    const answer = await createUser(service)
    t.equal(answer.status, 201, 'no request may run for that long')
    t.strictSame(await answer.json(), { message: 'User created', user_id: owner.toHexString() })
    t.equal(await users.countDocuments({ number }), 1)
  }
)

async function newCaller () {
  const number = freshPhone()
  const token = await signInTo(killed, number)
  return { number, token, owner: (await users.findOne({ number }))!._id }
}

function usernameOf (number: string): string {
  return `u${number.slice(1)}`
}

function createUser ({ url }: ServerProcess): Promise<Response> {
  const { number, token } = third
  return fetch(`${url}/users`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': 'one' },
    body: JSON.stringify({ username: usernameOf(number), number })
  })
}

async function upload ({ url }: ServerProcess, token: string, user: string) {
  const response = await fetch(`${url}/library/upload`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': FORM_TYPE, 'idempotency-key': 'one' },
    body: form([field('user_id', user), file(gif)])
  })
  return {
    status: response.status,
    replayed: response.headers.get('idempotency-replayed'),
    body: await response.json() as { id: string, url: string }
  }
}

/**
 * A proxy before the database. `holdAt` sends a request, and resolves once a command that contains `pattern` comes on
 * its behalf. From then on, the proxy passes on no such command, nor what follows it on the same connection.
 */
async function holdingProxy (t: Test, mongoUri: string) {
  const address = new URL(mongoUri)
  const patterns = new Set<Buffer>()
  let held = () => {}
  const proxy = createServer(client => {
    const server = connect(Number(address.port), address.hostname)
    let isHeld = false
    client.on('error', () => server.destroy()).on('close', () => server.destroy())
    server.on('error', () => client.destroy()).on('close', () => client.destroy()).on('data', bytes => {
      client.write(bytes)
    })
    client.on('data', bytes => {
      isHeld ||= [...patterns].some(pattern => bytes.includes(pattern))
      if (isHeld) held()
      else server.write(bytes)
    })
  }).listen(0, '127.0.0.1')
  t.teardown(() => { proxy.close() })
  await new Promise(resolve => proxy.once('listening', resolve))
  const uri = new URL(withUriOption(mongoUri, 'directConnection', 'true'))
  uri.port = String((proxy.address() as AddressInfo).port)
  uri.searchParams.delete('replicaSet')
  return {
    uri: withUriOption(uri.href, 'socketTimeoutMS', '60000'), // or the driver would repeat the command

    async holdAt (pattern: Buffer, request: () => Promise<unknown>): Promise<void> {
      patterns.add(pattern)
      const isHeld = new Promise<void>(resolve => { held = resolve })
      const answered = request()
      await Promise.race([
        isHeld,
        answered.then(() => { throw new Error('the request was answered before its command came') })
      ])
      answered.catch(() => {}) // the process is killed
    }
  }
}
