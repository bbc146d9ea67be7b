import { ObjectId } from 'mongodb'
import t from 'tap'
import type { SessionDocument } from '../../schemas/documents.js'
import {
  accountOf,
  auditEvents,
  freshPhone,
  insertAccount,
  insertRows,
  requestContextOf,
  userRow
} from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startServices, withUriOption } from '../helpers/backends.js'
import { itemRow } from '../helpers/items.js'
import { idsOf } from '../helpers/library-pages.js'
import { startService } from '../helpers/service.js'
import { gif } from '../helpers/small-pictures.js'

const admin = freshPhone()

t.test('GET, PUT and DELETE /users/me/blocks', async t => {
  const services = await startServices(t)
  const service = await startService(t, { services, env: { ADMIN_NUMBERS: admin } })
  const other = await startService(t, { services })
  const { call, app: { collections } } = service
  const caller = await service.signIn()
  const arjun = await service.signIn()
  await ok(call('POST', '/users', { token: arjun.token, json: { username: 'arjun', number: arjun.phone } }))
  const arjunId = (await accountOf(service.app, arjun.phone)).toHexString()
  const block = (id: string, { token }: { token: string } = caller) => call('PUT', `/users/me/blocks/${id}`, { token })
  const unblock = (id: string) => call('DELETE', `/users/me/blocks/${id}`, { token: caller.token })
  const blocks = async () => (await ok(call('GET', '/users/me/blocks', { token: caller.token }))).body.blocks
  const list = async ({ token }: { token: string }, query = '', instance = service) =>
    (await ok(instance.call('GET', `/library?per_page=100${query}`, { token }))).body

  t.test('a blocked account\'s items leave the caller\'s lists and totals, and come back', async t => {
    const { body: { id } } = await ok(service.upload(arjun.token, gif, { fields: { user_id: 'a', title: 'Loud fox' } }))
    await ok(service.upload(caller.token, gif))
    await service.app.sweeper.sweep()
    t.equal((await list(caller)).total, 2)
    t.strictSame(await blocks(), [])
    t.equal((await block(arjunId)).status, 204)
    t.equal((await block(arjunId)).status, 204, 'again')
    t.match(await blocks(), [{ user_id: arjunId, username: 'arjun', created_at: service.clock.now.toISOString() }])
    for (const query of ['', '&q=fox', '&type=gif', `&user_id=${'a'}`, '&q=loud fox']) {
      t.notOk(idsOf(await list(caller, query)).includes(id), query)
    }
    t.match(await list(caller), { total: 1, total_exact: true, next_cursor: null })
    t.match(await list(caller, '&page=2'), { total: 1, total_exact: true, items: { length: 0 } })
    t.equal((await ok(call('GET', `/library/${id}`, { token: caller.token }))).body.id, id, 'the item itself is there')
    t.equal((await list(arjun)).total, 2, 'nobody else\'s list changes')
    other.clock.advance(10)
    t.equal((await list(caller, '', other)).total, 1, 'ten seconds later on another instance')
    t.equal((await unblock(arjunId)).status, 204)
    t.equal((await unblock(arjunId)).status, 204, 'again')
    t.equal((await list(caller)).total, 2)
    t.strictSame(await blocks(), [])
    const events = (await auditEvents(service, caller.phone)).filter(event => event.startsWith('block.'))
    t.strictSame(events.sort(), ['block.added', 'block.removed'])
  })

  t.test('refusals: oneself, an unknown and a malformed id, no token', async t => {
    const own = (await accountOf(service.app, caller.phone)).toHexString()
    t.match(await block(own), { status: 400, body: { error: 'You cannot block yourself' } })
    t.match(await block(new ObjectId().toHexString()), { status: 404, body: { error: 'User not found' } })
    for (const id of ['x', arjunId.toUpperCase()]) {
      t.match(await block(id), { status: 400, body: { error: 'Invalid user id' } })
      t.match(await unblock(id), { status: 400, body: { error: 'Invalid user id' } })
    }
    t.equal((await unblock(new ObjectId().toHexString())).status, 204, 'any well-formed id can be unblocked')
    for (const [method, path] of [['GET', ''], ['PUT', `/${arjunId}`], ['DELETE', `/${arjunId}`]] as const) {
      t.equal((await call(method, `/users/me/blocks${path}`)).status, 401)
    }
  })

  t.test('an account without a name can be blocked, and a deleted one leaves the list', async t => {
    const { _id } = await insertAccount(service)
    t.equal((await block(_id.toHexString())).status, 204)
    t.match(await blocks(), [{ user_id: _id.toHexString(), username: '' }])
    await collections.users.updateOne({ _id }, { $set: { deleting: service.clock.now } })
    t.strictSame(await blocks(), [])
    t.equal((await block(_id.toHexString())).status, 204, 'a repeat')
    t.equal((await block(_id.toHexString(), arjun)).status, 404)
  })

  t.test('at most 200 accounts, also when they come at once; a deleted one makes room', async t => {
    const rows = Array.from({ length: 205 }, () => userRow({}))
    await insertRows(collections.users, rows)
    const blocker = await service.signIn()
    const answers = await Promise.all(rows.map(({ _id }) => block(_id.toHexString(), blocker)))
    t.equal(answers.filter(({ status }) => status === 204).length, 200)
    const refused = answers.filter(({ status }) => status === 409)
    t.equal(refused.length, 5)
    t.match(refused[0], { body: { error: 'You have blocked 200 accounts already' } })
    const at = (status: number) => rows[answers.findIndex(answer => answer.status === status)]!._id
    t.equal((await block(at(204).toHexString(), blocker)).status, 204, 'a repeat')
    await collections.users.updateOne({ _id: at(204) }, { $set: { deleting: service.clock.now } })
    t.equal((await block(at(409).toHexString(), blocker)).status, 204)
    const stored = await collections.users.findOne({ number: blocker.phone })
    t.equal(stored!.blocks!.length, 200)
  })

  t.test('an account that is deleted between its session check and its block is 401, and blocks nobody', async t => {
    const account = await insertAccount(service, { deleting: service.clock.now })
    const caller = { account, session: {} as SessionDocument }
    await t.rejects(service.app.blocks.add(arjunId, caller, requestContextOf(service.app)), { message: 'Invalid access token' })
    t.notOk('blocks' in (await collections.users.findOne({ _id: account._id }))!)
  })

  t.test('blocks go with the account, and are in the export', async t => {
    const leaver = await service.signIn()
    t.equal((await block(arjunId, leaver)).status, 204)
    const { body } = await ok(call('GET', '/users/me/export', { token: leaver.token }))
    t.match(body.blocks, [{ user_id: arjunId, username: 'arjun' }])
    const { _id } = (await collections.users.findOne({ number: leaver.phone }))!
    t.equal((await call('DELETE', '/users/me', { token: leaver.token })).status, 204)
    const row = await collections.users.findOne({ _id })
    t.notOk('blocks' in row!)
  })
})

t.test('200 blocks and 50 reports change nobody else\'s list, and cost three commands', async t => {
  const given = await startServices(t)
  const services = { ...given, mongoUri: withUriOption(given.mongoUri, 'monitorCommands', 'true') }
  const service = await startService(t, { services, env: { ADMIN_NUMBERS: admin } })
  const { call, app: { collections } } = service
  const [blocker, somebody, boss] = [await service.signIn(), await service.signIn(), await service.signIn(admin)]
  const authors = Array.from({ length: 201 }, () => userRow({}))
  await insertRows(collections.users, authors)
  // each author has two items, but for the last one, who is not blocked and has 60
  const items = authors.flatMap(({ _id: owner }, i) =>
    Array.from({ length: i < 200 ? 2 : 60 }, (_, k) => itemRow(i * 100 + k, { owner, type: 'gif', title: 'fox' })))
  await collections.library.insertMany(items)
  const own = await ok(service.upload(blocker.token, gif))
  await service.app.sweeper.sweep()
  for (const { _id } of authors.slice(0, 200)) {
    t.equal((await call('PUT', `/users/me/blocks/${_id.toHexString()}`, { token: blocker.token })).status, 204)
  }
  for (const { _id } of items.slice(-60, -10)) {
    const json = { reason: 'spam' }
    t.equal((await call('POST', `/library/${_id.toHexString()}/reports`, { token: blocker.token, json })).status, 201)
  }
  t.match(await call('POST', `/library/${own.body.id}/review`, { token: boss.token, json: { decision: 'hide' } }), {
    status: 200
  })
  for (let n = 0; n < 2; n++) await service.app.moderationWorker.run() // the reports may have queued one more
  const commands: string[] = []
  service.app.mongo.client.on('commandStarted', ({ commandName }) => { commands.push(commandName) })
  const list = async ({ token }: { token: string }, query = '') => {
    await ok(call('GET', '/library?per_page=1', { token })) // so that the session is known
    commands.length = 0
    const answer = await ok(call('GET', `/library?per_page=5${query}`, { token }))
    return { ...answer.body, commands: [...commands] }
  }

  for (const query of ['', '&page=2', '&page=1000', '&type=gif', '&type=gif&page=2', '&category=Cats']) {
    const { commands } = await list(blocker, query)
    t.ok(commands.length <= 3, `${query}: ${commands}`)
  }
  t.match(await list(blocker), { total: 11, total_exact: true }, 'ten that are left, and the caller\'s own, hidden one')
  t.match(await list(blocker, '&type=gif'), { total: 11, total_exact: true })
  const pages = []
  for (let query = ''; ;) {
    const page = await list(blocker, query)
    pages.push(...idsOf(page))
    if (page.next_cursor === null) break
    query = `&cursor=${page.next_cursor}`
  }
  t.strictSame(pages, [own.body.id, ...items.slice(-10).map(({ _id }) => _id.toHexString()).reverse()])

  t.match(await list(somebody), { total: 460, total_exact: true })
  t.match(await list(somebody, '&type=gif'), { total: 460 })
  t.match((await list(somebody)).commands, ['find'], 'the state; the page is kept, and shared')
  t.match(await list(boss), { total: 461, total_exact: true })
  const { commands: asAdmin } = await list(boss, '&page=2')
  t.ok(asAdmin.length <= 3, `an admin: ${asAdmin}`)
})
