import { createServer, connect, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { bytesAt } from './helpers/bytes.js'
import { field, file, form, FORM_TYPE } from './helpers/multipart.js'
import { gif } from './helpers/small-pictures.js'
import { environment, startServices } from './helpers/backends.js'
import { eventually } from './helpers/wait.js'
import { accountOf, freshPhone } from './helpers/accounts.js'
import { startService } from './helpers/service.js'
import { startProcess, type ServerProcess } from './helpers/server-process.js'

/** The name and the collection of a command, as BSON has them. */
const command = (name: string, collection: string) => Buffer.concat([
  Buffer.from(`\x02${name}\0`),
  Buffer.from([collection.length + 1, 0, 0, 0]),
  Buffer.from(`${collection}\0`)
])
const KEY_WRITTEN = command('update', 'idempotency')

for (const { moment, pattern } of [
  { moment: 'just after the item was written', pattern: command('delete', 'uploads') },
  { moment: 'before its answer could be remembered', pattern: KEY_WRITTEN }
]) {
  t.test(
    `POST /library/upload finds its item by the Idempotency-Key when the process was killed ${moment}`,
    async t => {
      const services = await startServices(t)
      const observer = await startService(t, { services, now: () => new Date(), env: { SWEEP_INTERVAL_SECONDS: '0' } })
      const { library } = observer.app.collections
      const token = await observer.tokenFor(freshPhone())
      const env = { ...environment(services), SWEEP_INTERVAL_SECONDS: '0' }
      await killedAt(t, env, pattern, server => upload(server, token, 'meera'))
      t.equal(await library.countDocuments(), 1)

      const service = await startProcess(t, env)
      const again = await upload(service, token, 'meera')
      t.equal(again.status, 201, 'the repeated request finds the item')
      t.equal(again.replayed, 'true')
      t.match(again.body, { message: 'File uploaded', user_id: 'meera', size: gif.length })
      t.equal((await bytesAt(again.body.url)).length, gif.length)
      t.equal(await library.countDocuments(), 1)
      t.equal(await observer.app.collections.uploads.countDocuments(), 0)
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
      t.equal(await library.countDocuments(), 1)
    }
  )
}

t.test(
  'POST /users finds its user by the Idempotency-Key when the process was killed before its answer was remembered',
  async t => {
    const services = await startServices(t)
    const observer = await startService(t, { services, now: () => new Date() })
    const number = freshPhone()
    const token = await observer.tokenFor(number)
    const env = { ...environment(services), UPLOAD_MAX_SECONDS: '1' }
    const create = ({ url }: ServerProcess) => fetch(`${url}/users`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': 'one' },
      body: JSON.stringify({ username: `u${number.slice(1)}`, number })
    })
    await killedAt(t, env, KEY_WRITTEN, create)
    const id = await accountOf(observer.app, number)

    const service = await startProcess(t, env)
    const answer = await eventually(async () => {
      const reply = await create(service)
      return reply.status === 409 ? undefined : reply
    })
    t.equal(answer.status, 201)
    t.strictSame(await answer.json(), { message: 'User created', user_id: id.toHexString() })
    t.equal(await observer.app.collections.users.countDocuments({ number }), 1)
  }
)

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
 * Starts the service, and kills it at its first database command that contains `pattern`. The command never arrives.
 */
async function killedAt (
  t: Test,
  env: Record<string, string>,
  pattern: Buffer,
  request: (server: ServerProcess) => Promise<unknown>
): Promise<void> {
  const address = new URL(env.MONGO_URI!)
  let caught = () => {}
  const hit = new Promise<void>(resolve => { caught = resolve })
  let isHeld = false
  const proxy = createServer(client => {
    const server = connect(Number(address.port), address.hostname)
    client.on('error', () => server.destroy()).on('close', () => server.destroy())
    server.on('error', () => client.destroy()).on('close', () => client.destroy()).on('data', bytes => {
      client.write(bytes)
    })
    client.on('data', bytes => {
      isHeld ||= bytes.includes(pattern)
      if (isHeld) caught()
      else server.write(bytes)
    })
  }).listen(0, '127.0.0.1')
  t.teardown(() => { proxy.close() })
  await new Promise(resolve => proxy.once('listening', resolve))
  const uri = new URL(env.MONGO_URI!)
  uri.port = String((proxy.address() as AddressInfo).port)
  uri.searchParams.delete('replicaSet')
  uri.searchParams.set('directConnection', 'true')
  const running = await startProcess(t, { ...env, MONGO_URI: uri.href })
  const answered = request(running)
  await Promise.race([
    hit,
    answered.then(() => { throw new Error('the request was answered before the process was killed') })
  ])
  await running.kill('SIGKILL')
  await answered.catch(() => {})
}
