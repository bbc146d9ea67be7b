import t from 'tap'
import { accountOf, claimsOf, findAccount, freshPhone, makeAdmin, namedPhone } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { compact, hmac, type Json, legacyToken } from '../helpers/jws.js'
import { startService } from '../helpers/service.js'
import { DAY, INVALID_TOKEN, LEGACY_SECRET, startTwoServices } from '../helpers/sessions.js'

t.setTimeout(1_200_000)
const { services, service, other, me, signedIn, signIn } = await startTwoServices(t)
const { call, clock } = service

t.test('Tokens of the system it replaces', async t => {
  const legacy = (sub: string, claims: Json = {}, secret = LEGACY_SECRET) => legacyToken(sub, {
    iat: seconds() - 100,
    claims: { exp: seconds() + 3650 * DAY, ...claims },
    secret
  })
  const seconds = () => Math.floor(clock.now.getTime() / 1000)

  t.test(
    'A legacy token in any notation of the number gets a session, is listed, and can be ended for good',
    async t => {
      const phone = freshPhone()
      const notations = [
        phone.slice(3),
      `0${phone.slice(3)}`,
      `${phone.slice(0, 3)} ${phone.slice(3, 8)}-${phone.slice(8)}`
      ]
      const tokens = notations.map(sub => legacy(sub))
      for (const token of tokens) t.ok(await signedIn(token))
      const { body } = await ok(me(tokens[0]!))
      t.equal(body.sessions.length, 3)
      t.match(body.sessions.find(({ current }: { current: boolean }) => current), {
        expires_at: new Date((seconds() + 3650 * DAY) * 1000).toISOString()
      })
      const another = body.sessions.find(({ current }: { current: boolean }) => !current)
      await ok(call('DELETE', `/auth/sessions/${another.id}`, { token: tokens[0] }))
      t.same((await Promise.all(tokens.map(token => signedIn(token)))).filter(Boolean).length, 2)
      await ok(call('POST', '/auth/logout', { token: tokens[0] }))
      clock.advance(3600)
      t.notOk(await signedIn(tokens[0]!), 'it never opens again')
      t.notOk(await signedIn(tokens[0]!, other), 'anywhere')
    }
  )

  t.test('Many first uses of a legacy token at once, over two processes, are one session', async t => {
    const phone = freshPhone()
    const token = legacy(phone)
    const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => me(token, i % 2 ? service : other)))
    t.same([...new Set(answers.map(({ status }) => status))], [200])
    t.equal((await ok(me(token))).body.sessions.length, 1)
  })

  t.test('Legacy tokens that were never used here end as well when their owner signs out everywhere', async t => {
    for (const [scope, mine] of [['all', false], ['others', true]] as const) {
      const phone = await namedPhone(service.app)
      const [lost, token] = [legacy(phone), await signIn(phone)]
      await ok(call('POST', '/auth/logout', { token, json: { scope } }))
      t.match(await me(lost), INVALID_TOKEN)
      t.equal(await signedIn(token), mine)
    }
  })

  t.test('Legacy tokens are refused with any fault, and while the switch is off', async t => {
    const phone = freshPhone()
    const wrong = {
      'another type': { type: 'refresh' },
      'no type': { type: undefined },
      'an issuer': { iss: 'hookaba' },
      'no end': { exp: undefined },
      'at its end': { exp: seconds() },
      'not yet': { nbf: seconds() + 3600 },
      'from the future': { iat: seconds() + 3600 },
      'no number': { sub: 'admin' },
      'no subject': { sub: undefined },
      'an object': { sub: { $ne: null } }
    }
    for (const [name, changes] of Object.entries(wrong)) t.match(await me(legacy(phone, changes)), INVALID_TOKEN, name)
    t.match(await me(legacy(phone, {}, 'another-secret-another-secret-another')), INVALID_TOKEN, 'another secret')
    const off = await startService(t, { services })
    t.match(await me(legacy(phone), off), INVALID_TOKEN, 'the switch is off')
    t.ok(await signedIn(legacy(phone)))
  })

  t.test('Legacy tokens that are barred never get in by a race', async t => {
    const phone = freshPhone()
    const lost = legacy(phone)
    await ok(call('POST', '/auth/logout', { token: await signIn(phone), json: { scope: 'all' } }))
    const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => me(lost, i % 2 ? service : other)))
    t.same([...new Set(answers.map(({ status }) => status))], [401])
  })

  t.test('Legacy tokens that were ended one by one stay ended, however many they are', async t => {
    const phone = await namedPhone(service.app)
    const tokens = Array.from({ length: 101 }, () => legacy(phone))
    const unused = legacy(phone)
    for (const token of tokens) t.equal((await call('POST', '/auth/logout', { token })).status, 204)
    for (const token of tokens) t.match(await me(token), INVALID_TOKEN)
    t.match(await me(unused), INVALID_TOKEN, 'when the list of them is full, all end')
    t.match(await findAccount(service, { phone }), { legacy_revoked_at: Date, sessions: [] })
  })

  t.test(
    'A legacy token makes an account where there is none, and is never admin, idle or a recent sign-in',
    async t => {
      const phone = freshPhone()
      const token = legacy(phone, { iat: seconds() })
      t.ok(await signedIn(token))
      await makeAdmin(service, phone)
      t.match(await call('GET', '/users', { token }), { status: 403, body: { error: 'Only an admin may do that' } })
      t.match(await call('DELETE', '/users/me', { token }), {
        status: 403,
        body: { error: 'Please sign in again to do this' }
      })
      clock.advance(400 * DAY)
      t.ok(await signedIn(token), 'it ends with the token alone')
    }
  )

  t.test('Legacy tokens end with a block, and do not come back when it is taken off', async t => {
    const admin = await service.signIn()
    await makeAdmin(service, admin.phone)
    const phone = freshPhone()
    const [used, unused] = [legacy(phone), legacy(phone)]
    t.ok(await signedIn(used))
    const id = (await accountOf(service.app, phone)).toHexString()
    for (const blocked of [true, false]) {
      t.equal((await call('PATCH', `/users/${id}`, { token: admin.token, json: { blocked } })).status, 200)
      t.same([await signedIn(used), await signedIn(unused)], [false, false])
    }
  })

  t.test('Legacy tokens issued after the takeover are forgeries', async t => {
    const at = clock.now
    await service.app.collections.migration.insertOne({ _id: 'takeover', at })
    const later = await startService(t, { services, env: { JWT_LEGACY_SECRET: LEGACY_SECRET }, now: () => clock.now })
    t.match(await me(legacy(freshPhone(), { iat: Math.floor(at.getTime() / 1000) + 1, nbf: 0 }), later), INVALID_TOKEN)
    t.ok(await signedIn(legacy(freshPhone(), { iat: Math.floor(at.getTime() / 1000) - 1 }), later))
    await service.app.collections.migration.deleteMany({})
  })

  t.test('Legacy tokens are verified by the secret as it is given or trimmed, which signs nothing else', async t => {
    t.ok(await signedIn(legacy(freshPhone(), {}, LEGACY_SECRET.trim())))
    const token = await signIn(freshPhone())
    t.match(await me(compact({ alg: 'HS256', typ: 'JWT' }, claimsOf(token), hmac(LEGACY_SECRET))), INVALID_TOKEN)
    t.match(await me(legacy(freshPhone(), {}, service.config.JWT_SECRET_KEY!)), INVALID_TOKEN)
    t.ok(service.logs.some(line => line.includes('"legacy_secret.found_weak"')), 'a known secret is warned about')
  })

  t.test('Legacy sessions count among the ten, and one that was pushed out does not come back', async t => {
    const phone = await namedPhone(service.app)
    const oldest = legacy(phone)
    t.ok(await signedIn(oldest))
    for (let i = 0; i < 10; i++) {
      clock.advance(1)
      await service.tokenFor(phone)
    }
    t.match(await me(oldest), INVALID_TOKEN)
  })
})
