import { ObjectId } from 'mongodb'
import t, { type Test } from 'tap'
import { freshPhone } from './helpers/accounts.js'
import { startService, type Reply, type Service } from './helpers/service.js'
import { startServices } from './helpers/backends.js'

const UNASKED = new Set(['hello', 'ping', 'endSessions', 'killCursors'])
const HOUR = 3600

t.setTimeout(120_000)
const services = await startServices(t)
const service = await counted(t)
const { call, clock, counts, writes } = service
const admin = await service.signIn()
await service.app.collections.users.updateOne({ number: admin.phone }, { $set: { admin: true } })
let names = 0

t.test(
  'a session check is one read; within 9 s of a read in this process it is none, but a write always reads',
  async t => {
    const { token } = await service.signIn()
    const check = () => call('GET', '/users/x', { token }) // a bad id, so that nothing else is read
    clock.advance(10)
    t.same(await counts(check), ['find'], 'cold')
    t.same(await counts(check), [], 'warm')
    t.same(
      await counts(() => call('POST', '/auth/logout', { token, json: { scope: 'x' } })),
      ['find'],
      'where something is written'
    )
    t.same(
      await counts(() => call('GET', '/auth/sessions', { token })),
      ['find'],
      'and where the account itself is shown'
    )
    clock.advance(HOUR)
    t.same(await counts(check), ['find', 'update'], 'its use is written down once in an hour')
    t.same(await counts(() => call('GET', '/users/x', { token: `${token}x` })), [], 'a forged token causes no command')
  }
)

t.test('POST /users needs at most 4 commands', async t => {
  const { phone, token } = await service.signIn()
  const username = `name ${names++}`
  const create = (name: string, number = phone) => call('POST', '/users', { token, json: { username: name, number } })
  clock.advance(10)
  for (const [what, ask, status] of [
    ['a name for the account', () => create(username), 201],
    ['the same again', () => create(username.toUpperCase()), 201],
    ['another name', () => create(`name ${names++}`), 409],
    ['a foreign number', () => create(`name ${names++}`, freshPhone()), 403],
    ['a foreign number and a taken name', () => create(username, freshPhone()), 409],
    ['a bad name', () => create('', freshPhone()), 400]
  ] as Array<[string, () => Promise<Reply>, number]>) {
    const commands = await counts(async () => t.equal((await ask()).status, status, what))
    t.ok(commands.length <= 4, `${what}: ${commands}`)
  }
  await call('GET', '/auth/sessions', { token: admin.token })
  const byAdmin = await counts(() =>
    call('POST', '/users', { token: admin.token, json: { username: `name ${names++}`, number: freshPhone() } }))
  t.ok(byAdmin.length <= 4, `by an admin: ${byAdmin}`)
})

t.test('each change of an account is one update', async t => {
  const id = async (phone: string) => (await service.app.collections.users.findOne({ number: phone }))!._id
  const { phone, token } = await service.signIn()
  await call('POST', '/users', { token, json: { username: `name ${names++}`, number: phone } })
  const account = await id(phone)
  for (const [what, ask] of [
    ['a block', () => call('PATCH', `/users/${account}`, { token: admin.token, json: { blocked: true } })],
    ['its end', () => call('PATCH', `/users/${account}`, { token: admin.token, json: { blocked: false } })]
  ] as Array<[string, () => Promise<Reply>]>) t.equal(await writes(ask), 1, what)
  const again = await service.signIn(phone)
  t.equal(
    await writes(() => call('PATCH', '/users/me', { token: again.token, json: { username: `name ${names++}` } })),
    1,
    'a new name'
  )
  t.equal(await writes(() => call('POST', '/auth/logout', { token: again.token })), 1, 'a logout')
  t.match(await service.app.collections.users.findOne({ _id: new ObjectId(account) }), { sessions: [] })
})

t.test('a sign-in needs one command beside the login\'s, two for a new account', async t => {
  const phone = freshPhone()
  const open = () => counts(() => service.tokenFor(phone))
  t.same(await open(), ['findAndModify', 'findAndModify'], 'a new account')
  const token = await service.tokenFor(phone)
  await call('POST', '/users', { token, json: { username: `name ${names++}`, number: phone } })
  t.same(await open(), ['findAndModify'], 'a user')
})

/**
 * A service that counts the database commands of a piece of work, the audit's included. `writes` counts those that
 * change accounts.
 */
async function counted (t: Test): Promise<Service & {
  counts: (work: () => Promise<unknown>) => Promise<string[]>
  writes: (work: () => Promise<unknown>) => Promise<number>
}> {
  const uri = new URL(services.mongoUri)
  uri.searchParams.set('monitorCommands', 'true')
  const service = await startService(t, {
    services: { ...services, mongoUri: uri.href },
    env: { SWEEP_INTERVAL_SECONDS: '0' }
  })
  const seen: Array<{ name: string, collection: unknown }> = []
  service.app.mongo.client.on('commandStarted', ({ commandName: name, command }) => {
    if (!UNASKED.has(name)) seen.push({ name, collection: command[name] })
  })
  return {
    ...service,
    async counts (work) {
      await record(work)
      return seen.map(({ name }) => name)
    },
    async writes (work) {
      await record(work)
      return seen.filter(({ name, collection }) =>
        collection === 'users' && ['update', 'findAndModify', 'delete'].includes(name)).length
    }
  }

  async function record (work: () => Promise<unknown>): Promise<void> {
    await service.app.audit.flush()
    seen.length = 0
    await work()
    await service.app.audit.flush()
  }
}
