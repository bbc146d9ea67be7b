/**
 * Races for accounts over two instances of the service. The caller says how many rounds. Each round ends with checks of
 * the database.
 */
import { createHmac } from 'node:crypto'
import { ObjectId } from 'mongodb'
import type { Test } from 'tap'
import type { Caller } from '../../services/ports.js'
import { createNumberChange } from '../../services/users/number-change.js'
import { gif } from './small-pictures.js'
import { freshPhone, requestContextOf } from './accounts.js'
import { startService, type Service } from './service.js'
import { startServices } from './backends.js'

const LEGACY_SECRET = 'the secret of the replaced system'

export async function raceAccounts (t: Test, rounds: number): Promise<void> {
  const services = await startServices(t)
  const env = { JWT_LEGACY_SECRET: LEGACY_SECRET, SWEEP_INTERVAL_SECONDS: '0' }
  const one = await startService(t, { services, env, logger: { level: 'silent' } })
  const other = await startService(t, { services, env, now: () => one.clock.now, logger: { level: 'silent' } })
  const { users, library } = one.app.collections
  const admin = await one.signIn()
  await users.updateOne({ number: admin.phone }, { $set: { admin: true } })
  const change = changeAt(one)
  const changeThere = changeAt(other)
  let names = 0

  await race('sign-in against block', async t => {
    const { phone, account } = await person()
    await one.call('POST', '/auth/request-otp', { json: { phone } })
    const [{ status, body }, block] = await Promise.all([
      other.call('POST', '/auth/verify-otp', { json: { phone, otp: one.lastCode(phone) } }),
      one.call('PATCH', `/users/${account._id}`, { token: admin.token, json: { blocked: true } })
    ])
    if (status !== 200 || block.status !== 200) t.fail(`${status} ${block.status}`)
    const row = await users.findOne({ _id: account._id })
    if (row?.blocked !== true || row.sessions.length > 0) t.fail('a blocked account has a session')
    if (body.access_token && (await one.call('POST', '/auth/logout', { token: body.access_token })).status !== 401) {
      t.fail('a blocked account is signed in')
    }
  })

  await race('sign-in against deletion', async t => {
    const { phone, token, account } = await person()
    await one.call('POST', '/auth/request-otp', { json: { phone } })
    const [signIn, deletion] = await Promise.all([
      other.call('POST', '/auth/verify-otp', { json: { phone, otp: one.lastCode(phone) } }),
      one.call('DELETE', '/users/me', { token })
    ])
    if (signIn.body.success !== true || deletion.status !== 204) t.fail(`${signIn.text} ${deletion.status}`)
    await nothingIsLeft(t, account._id)
    const { status } = await one.call('PATCH', '/users/me', { token: signIn.body.access_token })
    const now = await users.findOne({ number: phone })
    if (status === 404 ? now?._id.equals(account._id) : status !== 401) {
      t.fail(`a deleted account is signed in: ${status}`)
    }
  })

  await race('a number change against a sign-in with the new number', async t => {
    const { account, session } = await person()
    const number = freshPhone()
    const former = (await one.app.sessions.open(number, requestContextOf(one.app)))!
    const [changed, opened] = await Promise.all([
      change({ account, session }, number),
      other.app.sessions.open(number, requestContextOf(other.app))
    ])
    if (changed !== 200 || !opened) t.fail(`${changed}`)
    if (await users.countDocuments({ number }) !== 1 || !(await users.findOne({ number }))?._id.equals(account._id)) {
      t.fail('the number is not the account\'s that proved to have it')
    }
    await nothingIsLeft(t, former.account._id)
  })

  await race('an upload against the deletion of its account', async t => {
    const { token, account } = await person()
    const [upload, deletion] = await Promise.all([other.upload(token, gif), one.call('DELETE', '/users/me', { token })])
    if (deletion.status !== 204 || ![201, 401].includes(upload.status)) t.fail(`${upload.status} ${deletion.status}`)
    if (await library.findOne({ owner: account._id })) t.fail('an item belongs to a deleted account')
    if (upload.status === 201) {
      const item = await library.findOne({ _id: new ObjectId(upload.body.id as string) })
      if (item?.user_id !== 'deleted') t.fail('an item keeps the label of a deleted account')
    }
  }, Math.min(rounds, 1000))

  await race('two number changes to one number', async t => {
    const [a, b] = [await person(), await person()]
    const number = freshPhone()
    const statuses = await Promise.all([change(a, number), changeThere(b, number)])
    if (statuses.toSorted().join() !== '200,409') t.fail(statuses.join())
    const [winner, loser] = statuses[0] === 200 ? [a, b] : [b, a]
    const [won, lost] = await Promise.all([
      users.findOne({ _id: winner.account._id }),
      users.findOne({ _id: loser.account._id })
    ])
    if (won?.number !== number || lost?.number !== loser.phone) t.fail('a number has two holders, or none')
  })

  await race('a number change against naming the account that has the number', async t => {
    const { phone, account, session } = await person()
    const number = freshPhone()
    const holder = (await one.app.sessions.open(number, requestContextOf(one.app)))!
    const { token } = one.app.issueToken(holder)
    const [changed, named] = await Promise.all([
      change({ account, session }, number),
      other.call('POST', '/users', { token, json: { username: `holder ${names++}`, number } })
    ])
    const row = await users.findOne({ number })
    if (changed === 200) {
      if (!row?._id.equals(account._id) || ![401, 403].includes(named.status)) {
        t.fail(`changed, and named with ${named.status}`)
      }
      await nothingIsLeft(t, holder.account._id)
    } else if (changed !== 409 ||
      named.status !== 201 ||
      !row?._id.equals(holder.account._id) ||
      (await users.findOne({ _id: account._id }))?.number !== phone) {
      t.fail(`${changed} ${named.status}`)
    }
  })

  await race('adoption of a legacy token against a logout everywhere', async t => {
    const { phone, token, account } = await person()
    const legacy = legacyToken(phone, one)
    const [adoption, logout] = await Promise.all([
      other.call('GET', '/auth/sessions', { token: legacy }),
      one.call('POST', '/auth/logout', { token, json: { scope: 'all' } })
    ])
    if (![200, 401].includes(adoption.status) || logout.status !== 204) t.fail(`${adoption.status} ${logout.status}`)
    if ((await users.findOne({ _id: account._id }))!.sessions.length > 0) {
      t.fail('a session outlives a logout everywhere')
    }
    for (const at of [one, other]) {
      if ((await at.call('POST', '/auth/logout', { token: legacy })).status !== 401) {
        t.fail('a legacy token opens a session after a logout everywhere')
      }
    }
  })

  await race(
    'adoption of a legacy token against a number change, after which another account has the old number',
    async t => {
      const { phone, account, session } = await person()
      const [adoption, newcomer] = await Promise.all([
        other.call('GET', '/auth/sessions', { token: legacyToken(phone, one) }),
        change({ account, session }, freshPhone()).then(() => one.app.sessions.open(phone, requestContextOf(one.app)))
      ])
      if (![200, 401].includes(adoption.status)) t.fail(`${adoption.status}`)
      const row = await users.findOne({ _id: newcomer!.account._id })
      if (row?._id.equals(account._id) || row?.sessions.some(({ legacy }) => legacy)) {
        t.fail('a legacy token opens the account of the next holder of its number')
      }
    }
  )

  await t.test('no blocked or deleted account has a session, and each owner of an item exists', async t => {
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

  async function race (name: string, round: (t: Test) => Promise<void>, times = rounds): Promise<void> {
    await t.test(`${name}, ${times} times`, async t => {
      for (let n = 0; n < times; n++) await round(t)
      t.pass('every round ended as it must')
    })
  }

  async function person (): Promise<Caller & { phone: string, token: string }> {
    const phone = freshPhone()
    const caller = (await one.app.sessions.open(phone, requestContextOf(one.app)))!
    const { token } = one.app.issueToken(caller)
    const { status } = await one.call('POST', '/users', {
      token,
      json: { username: `person ${names++}`, number: phone }
    })
    if (status !== 201) throw new Error(`a user was not made: ${status}`)
    return { ...caller, phone, token }
  }

  async function nothingIsLeft (t: Test, _id: ObjectId): Promise<void> {
    const row = await users.findOne({ _id })
    if (!row?.deleting || row.sessions.length > 0 || row.number !== undefined) {
      t.fail('a deleted account has a number or a session')
    }
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

function legacyToken (phone: string, { clock }: Service): string {
  const iat = Math.floor(clock.now.getTime() / 1000) - 100
  const payload = { type: 'access', sub: phone, iat, exp: iat + 3650 * 86_400, jti: Math.random() }
  const text = [{ alg: 'HS256', typ: 'JWT' }, payload]
    .map(part => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join(
      '.'
    )
  return `${text}.${createHmac('sha256', LEGACY_SECRET).update(text).digest('base64url')}`
}
