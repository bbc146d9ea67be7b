import t, { type Test } from 'tap'
import { createUser, findAccount, freshName, freshPhone, makeAdmin } from './helpers/accounts.js'
import { ok } from './helpers/answers.js'
import { startServices, withUriOption } from './helpers/backends.js'
import { startService, type Service } from './helpers/service.js'
import { gif } from './helpers/small-pictures.js'

/** Commands of the driver itself. */
const UNASKED = new Set(['hello', 'ping', 'endSessions', 'killCursors'])
const HOUR = 3600

t.setTimeout(120_000)
const services = await startServices(t)
const service = await counted(t)
const { call, clock, counts, writes } = service
await service.app.sweeper.sweep() // the work of the start is over
await service.app.moderationWorker.run()
const admin = await service.signIn()
await makeAdmin(service, admin.phone)

t.test(
  'a session check is one read; within 9 s of a read in this process it is none, but a write always reads',
  async t => {
    const { token } = await service.signIn()
    const answered = async (status: number, ...[method, path, options]: Parameters<Service['call']>) =>
      t.equal((await call(method, path, options)).status, status, `${method} ${path}`)
    const check = () => answered(400, 'GET', '/users/x', { token }) // a bad id, so that nothing else is read
    clock.advance(10)
    t.same(await counts(check), ['find'], 'cold')
    t.same(await counts(check), [], 'warm')
    t.same(
      await counts(() => answered(400, 'POST', '/auth/logout', { token, json: { scope: 'x' } })),
      ['find'],
      'where something is written'
    )
    t.same(
      await counts(() => answered(200, 'GET', '/auth/sessions', { token })),
      ['find'],
      'and where the account itself is shown'
    )
    clock.advance(HOUR)
    t.same(await counts(check), ['find', 'update'], 'its use is written down once in an hour')
    t.same(
      await counts(() => answered(401, 'GET', '/users/x', { token: `${token}x` })),
      [],
      'a forged token causes no command'
    )
  }
)

t.test('POST /users needs at most 4 commands', async t => {
  const { phone, token } = await service.signIn()
  const username = freshName()
  clock.advance(10)
  for (const { what, name, number, status } of [
    { what: 'a name for the account', name: username, number: phone, status: 201 },
    { what: 'the same again', name: username.toUpperCase(), number: phone, status: 201 },
    { what: 'another name', name: freshName(), number: phone, status: 409 },
    { what: 'a foreign number', name: freshName(), number: freshPhone(), status: 403 },
    { what: 'a foreign number and a taken name', name: username, number: freshPhone(), status: 409 },
    { what: 'a bad name', name: '', number: freshPhone(), status: 400 }
  ]) {
    const commands = await counts(async () =>
      t.equal((await call('POST', '/users', { token, json: { username: name, number } })).status, status, what))
    t.ok(commands.length <= 4, `${what}: ${commands}`)
  }
  await ok(call('GET', '/auth/sessions', { token: admin.token }))
  const byAdmin = await counts(() => createUser(service, { token: admin.token }))
  t.ok(byAdmin.length <= 4, `by an admin: ${byAdmin}`)
})

t.test('each change of an account is one update', async t => {
  const { id, phone } = await createUser(service)
  for (const blocked of [true, false]) {
    const patch = () => ok(call('PATCH', `/users/${id}`, { token: admin.token, json: { blocked } }))
    t.equal(await writes(patch), 1, blocked ? 'a block' : 'its end')
  }
  const { token } = await service.signIn(phone)
  t.equal(
    await writes(() => ok(call('PATCH', '/users/me', { token, json: { username: freshName() } }))),
    1,
    'a new name'
  )
  t.equal(await writes(() => ok(call('POST', '/auth/logout', { token }))), 1, 'a logout')
  t.match(await findAccount(service, { id }), { sessions: [] })
})

t.test('a sign-in needs one command beside the login\'s, two for a new account', async t => {
  const phone = freshPhone()
  const open = () => counts(() => service.tokenFor(phone))
  t.same(await open(), ['findAndModify', 'findAndModify'], 'a new account')
  await createUser(service, { phone })
  t.same(await open(), ['findAndModify'], 'a user')
})

t.test('an upload needs at most 7 commands, a deletion 9, and each makes a new version of the library', async t => {
  const { token } = await service.signIn()
  const version = async () => (await service.app.collections.library_state.findOne())!.version
  const versions = [await version()]
  let id = ''
  const upload = await counts(async () => { id = (await ok(service.upload(token, gif))).body.id })
  t.ok(upload.length <= 7, `an upload: ${upload}`)
  versions.push(await version())
  const deletion = await counts(() => ok(call('DELETE', `/library/${id}`, { token })))
  t.ok(deletion.length <= 9, `a deletion: ${deletion}`)
  versions.push(await version())
  t.equal(new Set(versions).size, 3)
})

/**
 * A service that counts the database commands of a piece of work, the audit's included. `writes` counts those that
 * change accounts.
 */
async function counted (t: Test): Promise<Service & {
  counts: (work: () => Promise<unknown>) => Promise<string[]>
  writes: (work: () => Promise<unknown>) => Promise<number>
}> {
  const service = await startService(t, {
    services: { ...services, mongoUri: withUriOption(services.mongoUri, 'monitorCommands', 'true') }
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
