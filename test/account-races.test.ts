import { ObjectId } from 'mongodb'
import t, { type Test } from 'tap'
import type { Caller } from '../services/ports.js'
import { createNumberChange } from '../services/users/number-change.js'
import {
  createUser, findAccount, freshName, freshPhone, makeAdmin, requestContextOf
} from './helpers/accounts.js'
import { startServices } from './helpers/backends.js'
import { requestCode } from './helpers/codes.js'
import { findItem } from './helpers/items.js'
import { LEGACY_SECRET, legacyToken } from './helpers/jws.js'
import { startService, type Service } from './helpers/service.js'
import { gif } from './helpers/small-pictures.js'
import { scale } from './helpers/test-length.js'

/** Races for accounts over two instances of the service. Each round ends with checks of the database. */
const ROUNDS = scale({ short: 4, long: 1000, real: 3 })

t.setTimeout(300_000 + ROUNDS * 10_000)
const services = await startServices(t)
const env = { JWT_LEGACY_SECRET: LEGACY_SECRET }
const one = await startService(t, { services, env, logger: { level: 'silent' } })
const other = await startService(t, { services, env, now: () => one.clock.now, logger: { level: 'silent' } })
const { users, library } = one.app.collections
const admin = await one.signIn()
await makeAdmin(one, admin.phone)
const change = changeAt(one)
const changeThere = changeAt(other)

await race('a sign-in against a block', async t => {
  const { phone, id } = await person()
  const otp = await requestCode(one, phone)
  const [{ status, body }, block] = await Promise.all([
    other.call('POST', '/auth/verify-otp', { json: { phone, otp } }),
    one.call('PATCH', `/users/${id}`, { token: admin.token, json: { blocked: true } })
  ])
  if (status !== 200 || block.status !== 200) t.fail(`${status} ${block.status}`)
  const row = await findAccount(one, { id })
  if (row?.blocked !== true || row.sessions.length > 0) t.fail('a blocked account has a session')
  if (body.access_token && (await one.call('POST', '/auth/logout', { token: body.access_token })).status !== 401) {
    t.fail('a blocked account is signed in')
  }
})

await race('a sign-in against a deletion', async t => {
  const { phone, token, id } = await person()
  const otp = await requestCode(one, phone)
  const [signIn, deletion] = await Promise.all([
    other.call('POST', '/auth/verify-otp', { json: { phone, otp } }),
    one.call('DELETE', '/users/me', { token })
  ])
  if (signIn.body.success !== true || deletion.status !== 204) t.fail(`${signIn.text} ${deletion.status}`)
  await nothingIsLeft(t, id)
  const { status } = await one.call('PATCH', '/users/me', { token: signIn.body.access_token })
  const now = await findAccount(one, { phone })
  if (status === 404 ? now?._id.equals(id) : status !== 401) t.fail(`a deleted account is signed in: ${status}`)
})

await race('a number change against a sign-in with the new number', async t => {
  const { caller, id } = await person()
  const number = freshPhone()
  const former = (await one.app.sessions.open(number, requestContextOf(one.app)))!
  const [changed, opened] = await Promise.all([
    change(caller, number),
    other.app.sessions.open(number, requestContextOf(other.app))
  ])
  if (changed !== 200 || !opened) t.fail(`${changed}`)
  const holders = await users.find({ number }).toArray()
  if (holders.length !== 1 || !holders[0]!._id.equals(id)) {
    t.fail('the number is not the account\'s that proved to have it')
  }
  await nothingIsLeft(t, former.account._id.toHexString())
})

await race('an upload against the deletion of its account', async t => {
  const { token, id } = await person()
  const [upload, deletion] = await Promise.all([other.upload(token, gif), one.call('DELETE', '/users/me', { token })])
  if (deletion.status !== 204 || ![201, 401].includes(upload.status)) t.fail(`${upload.status} ${deletion.status}`)
  if (await library.findOne({ owner: new ObjectId(id) })) t.fail('an item belongs to a deleted account')
  if (upload.status === 201 && (await findItem(one, upload.body.id))?.user_id !== 'deleted') {
    t.fail('an item keeps the label of a deleted account')
  }
})

await race('two number changes to one number', async t => {
  const [a, b] = [await person(), await person()]
  const number = freshPhone()
  const statuses = await Promise.all([change(a.caller, number), changeThere(b.caller, number)])
  if (statuses.toSorted().join() !== '200,409') t.fail(statuses.join())
  const [winner, loser] = statuses[0] === 200 ? [a, b] : [b, a]
  const [won, lost] = await Promise.all([winner, loser].map(({ id }) => findAccount(one, { id })))
  if (won?.number !== number || lost?.number !== loser.phone) t.fail('a number has two holders, or none')
})

await race('a number change against naming the account that has the number', async t => {
  const { phone, caller, id } = await person()
  const number = freshPhone()
  const holder = (await one.app.sessions.open(number, requestContextOf(one.app)))!
  const { token } = one.app.issueToken(holder)
  const [changed, named] = await Promise.all([
    change(caller, number),
    other.call('POST', '/users', { token, json: { username: freshName(), number } })
  ])
  const row = await findAccount(one, { phone: number })
  if (changed === 200) {
    if (!row?._id.equals(id) || ![401, 403].includes(named.status)) t.fail(`changed, and named with ${named.status}`)
    await nothingIsLeft(t, holder.account._id.toHexString())
  } else if (changed !== 409 ||
    named.status !== 201 ||
    !row?._id.equals(holder.account._id) ||
    (await findAccount(one, { id }))?.number !== phone) {
    t.fail(`${changed} ${named.status}`)
  }
})

await race('the adoption of a legacy token against a logout everywhere', async t => {
  const { phone, token, id } = await person()
  const legacy = legacyToken(phone)
  const [adoption, logout] = await Promise.all([
    other.call('GET', '/auth/sessions', { token: legacy }),
    one.call('POST', '/auth/logout', { token, json: { scope: 'all' } })
  ])
  if (![200, 401].includes(adoption.status) || logout.status !== 204) t.fail(`${adoption.status} ${logout.status}`)
  if ((await findAccount(one, { id }))!.sessions.length > 0) t.fail('a session outlives a logout everywhere')
  for (const at of [one, other]) {
    if ((await at.call('POST', '/auth/logout', { token: legacy })).status !== 401) {
      t.fail('a legacy token opens a session after a logout everywhere')
    }
  }
})

await race('the adoption of a legacy token against a number change and a new holder of the old number', async t => {
  const { phone, caller, id } = await person()
  const [adoption, newcomer] = await Promise.all([
    other.call('GET', '/auth/sessions', { token: legacyToken(phone) }),
    change(caller, freshPhone()).then(() => one.app.sessions.open(phone, requestContextOf(one.app)))
  ])
  if (![200, 401].includes(adoption.status)) t.fail(`${adoption.status}`)
  const row = await findAccount(one, { id: newcomer!.account._id.toHexString() })
  if (row?._id.equals(id) || row?.sessions.some(({ legacy }) => legacy)) {
    t.fail('a legacy token opens the account of the next holder of its number')
  }
})

await t.test('after the races no blocked or deleted account has a session, and each owner of an item exists', async t => {
  t.equal(
    await users.countDocuments({
      $or: [{ blocked: true }, { deleting: { $exists: true } }],
      'sessions.0': { $exists: true }
    }),
    0
  )
  for await (const { owner } of library.find({ owner: { $exists: true } })) {
    t.ok(await users.findOne({ _id: owner!, deleting: { $exists: false } }))
  }
})

async function race (name: string, round: (t: Test) => Promise<void>): Promise<void> {
  await t.test(`${name} has one outcome`, async t => {
    for (let n = 0; n < ROUNDS; n++) await round(t)
    t.pass(`${ROUNDS} rounds ended as they must`)
  })
}

async function person (): Promise<{ id: string, phone: string, token: string, caller: Caller }> {
  const phone = freshPhone()
  const caller = (await one.app.sessions.open(phone, requestContextOf(one.app)))!
  return { ...await createUser(one, { phone, token: one.app.issueToken(caller).token }), caller }
}

async function nothingIsLeft (t: Test, id: string): Promise<void> {
  const row = await findAccount(one, { id })
  if (!row?.deleting || row.sessions.length > 0 || row.number !== undefined) {
    t.fail('a deleted account has a number or a session')
  }
}

/**
 * The service's own number change, with every code taken as right, because two people cannot know one code. Resolves
 * with the status of its answer.
 */
function changeAt ({ app }: Service): (caller: Caller, number: string) => Promise<number> {
  const { accounts, accountDeletion: deletion, collections, config, roles, now } = app
  const login = {
    requestOtp: async () => {},
    verifyOtp: async () => true as never,
    notifyOfNumberChange: async () => {}
  }
  const { verify } = createNumberChange({
    users: collections.users,
    accounts,
    login,
    deletion,
    roles,
    region: config.DEFAULT_REGION,
    now
  })
  return (caller, number) => verify(number, '123456', caller, requestContextOf(app)).then(
    () => 200,
    ({ statusCode = 500 }) => statusCode
  )
}
