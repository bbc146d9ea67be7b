import t from 'tap'
import {
  accountOf, claimsOf, createUser, findAccount, freshPhone, makeAdmin, namedPhone, setBlocked
} from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { requestCode } from '../helpers/codes.js'
import { compact, hmac, type Json, legacyToken, sharedSecret } from '../helpers/jws.js'
import { type Service, startService } from '../helpers/service.js'
import { eventually } from '../helpers/wait.js'
import { scale } from '../helpers/test-length.js'

const DAY = 24 * 3600
const INVALID_TOKEN = { status: 401, body: { error: 'Invalid access token' } }
const INVALID_REFRESH = { status: 401, body: { error: 'Invalid refresh token' } }
const LEGACY_SECRET = 'super-secret, of old '
/** Rounds of parallel refreshes. */
const RACES = scale({ short: 5, long: 20 })

t.setTimeout(1_200_000)
const services = await startServices(t)
const service = await startService(t, { services, env: { JWT_LEGACY_SECRET: LEGACY_SECRET } })
/** In effect another process: its own cache, the same clock, the same database. */
const other = await startService(t, {
  services,
  env: { JWT_LEGACY_SECRET: LEGACY_SECRET },
  now: () => service.clock.now
})
const { call, clock } = service

const me = (token: string, at: Pick<Service, 'call'> = service) => at.call('GET', '/auth/sessions', { token })
const signedIn = async (token: string, at: Pick<Service, 'call'> = service) => (await me(token, at)).status === 200
const idOf = (token: string): string => claimsOf(token).sid
/** A further sign-in of a phone. */
const signIn = async (phone: string) => { clock.advance(1); return (await service.signIn(phone)).token }

t.test('GET /auth/sessions', async t => {
  const phone = await namedPhone(service.app)
  const [first, second] = [await signIn(phone), await signIn(phone)]
  const { body } = await ok(call('GET', '/auth/sessions', { token: second, headers: { 'user-agent': 'another' } }))
  t.match(body.sessions, [{ id: idOf(second), current: true }, { id: idOf(first), current: false }])
  t.same(body.sessions[0], {
    id: idOf(second),
    created_at: clock.now.toISOString(),
    last_used_at: clock.now.toISOString(),
    expires_at: new Date(clock.now.getTime() + 365 * DAY * 1000).toISOString(),
    user_agent: 'node',
    current: true
  })
  clock.advance(3600)
  await ok(me(second))
  clock.advance(3599)
  await ok(me(second))
  t.match(
    (await ok(me(first))).body.sessions.map((session: { last_used_at: string }) =>
      (clock.now.getTime() - Date.parse(session.last_used_at)) / 1000),
    [3599, 0],
    'when each was used last, to the hour'
  )
  t.same((await ok(me(await signIn(freshPhone())))).body.sessions.length, 1, 'sessions of other accounts are not shown')
  t.match(await call('GET', '/auth/sessions'), { status: 401, body: { error: 'Missing access token' } })
})

t.test('A session ends with its token: after a year, or what ACCESS_TOKEN_TTL says', async t => {
  const token = await signIn(freshPhone())
  for (let month = 0; month < 12; month++) {
    clock.advance(30 * DAY)
    t.ok(await signedIn(token))
  }
  clock.advance(5 * DAY - 1)
  t.ok(await signedIn(token))
  clock.advance(1)
  t.match(await me(token), INVALID_TOKEN)
  const brief = await startService(t, { services, env: { ACCESS_TOKEN_TTL: '1h' } })
  const { body } = await ok(verify(brief, freshPhone()))
  t.equal(body.expires_in, 3600)
  brief.clock.advance(3600)
  t.match(await me(body.access_token, brief), INVALID_TOKEN)
})

t.test('A session that is not used for 90 days ends, or for what SESSION_IDLE_TTL says', async t => {
  const token = await signIn(freshPhone())
  clock.advance(90 * DAY - 1)
  t.ok(await signedIn(token))
  clock.advance(90 * DAY)
  t.match(await me(token), INVALID_TOKEN)
  t.match(await call('POST', '/auth/logout', { token }), INVALID_TOKEN)

  const brief = await startService(t, { services, env: { SESSION_IDLE_TTL: '1h' } })
  const { body } = await ok(verify(brief, freshPhone(), { refresh: true }))
  const { token: kept } = await brief.signIn()
  for (let quarter = 0; quarter < 5; quarter++) {
    brief.clock.advance(900)
    t.ok(await signedIn(kept, brief), 'use is written down in a quarter of that time')
  }
  t.match(await brief.call('POST', '/auth/refresh', { json: { refresh_token: body.refresh_token } }), INVALID_REFRESH)
  const endless = await startService(t, { services, env: { SESSION_IDLE_TTL: '0' } })
  const { token: idle } = await endless.signIn()
  endless.clock.advance(364 * DAY)
  t.ok(await signedIn(idle, endless))
})

t.test('The first sign-in makes the account; a further one without a name ends the one before', async t => {
  const phone = freshPhone()
  const first = await signIn(phone)
  const id = (await accountOf(service.app, phone)).toHexString()
  t.equal(claimsOf(first).sub, id)
  t.notMatch(Buffer.from(first.split('.')[1]!, 'base64url').toString(), phone.slice(3), 'the token holds no number')
  const second = await signIn(phone)
  t.equal(claimsOf(second).sub, id)
  t.same([await signedIn(first), await signedIn(second)], [false, true])
  await createUser(service, { phone, token: second })
  const third = await signIn(phone)
  t.same([await signedIn(second), await signedIn(third)], [true, true])
})

t.test('A token whose account is not its session\'s is no token', async t => {
  const [mine, yours] = [await signIn(freshPhone()), await signIn(freshPhone())]
  const { header, sign } = sharedSecret(service.config.JWT_SECRET_KEY!)
  const { sub, iat, exp } = claimsOf(mine)
  const tokenOf = (sub: string, sid: string) =>
    compact(header, { sub, sid, iat, exp, iss: 'hookaba', aud: 'hookaba' }, sign)
  t.match(await me(tokenOf(sub, idOf(yours))), INVALID_TOKEN)
  t.ok(await signedIn(tokenOf(sub, idOf(mine))))
  t.match(
    await me(tokenOf('+919876543210', idOf(mine))),
    INVALID_TOKEN,
    'nor one that names a number'
  )
})

t.test('POST /auth/logout', async t => {
  t.test('POST /auth/logout without a body, or with an empty one, ends the session of the request alone', async t => {
    const phone = await namedPhone(service.app)
    const [first, second, third] = [await signIn(phone), await signIn(phone), await signIn(phone)]
    t.same(await call('POST', '/auth/logout', { token: first }).then(({ status, text }) => [status, text]), [204, ''])
    t.equal(
      (await call('POST', '/auth/logout', {
        token: second,
        body: '',
        headers: { 'content-type': 'application/json' }
      })).status,
      204
    )
    t.same(await Promise.all([first, second, third].map(token => signedIn(token))), [false, false, true])
    t.match(await call('POST', '/auth/logout', { token: first }), INVALID_TOKEN, 'it is over')
  })

  for (const [scope, left] of [
    ['current', [false, true, true]],
    ['others', [true, false, false]],
    ['all', [false, false, false]]
  ] as const) {
    t.test(`POST /auth/logout with scope ${scope} ends the sessions that the scope names`, async t => {
      const phone = await namedPhone(service.app)
      const tokens = [await signIn(phone), await signIn(phone), await signIn(phone)]
      const stranger = await signIn(freshPhone())
      t.equal((await call('POST', '/auth/logout', { token: tokens[0], json: { scope } })).status, 204)
      t.same(await Promise.all(tokens.map(token => signedIn(token))), left)
      t.ok(await signedIn(stranger))
    })
  }

  t.test('POST /auth/logout refuses an unknown scope', async t => {
    const token = await signIn(freshPhone())
    t.match(await call('POST', '/auth/logout', { token, json: { scope: 'everywhere' } }), {
      status: 400,
      body: { errors: { scope: ['Must be one of: current, others, all.'] } }
    })
    for (const body of ['null', '[]', '"all"', '{']) {
      t.match(
        await call('POST', '/auth/logout', { token, body, headers: { 'content-type': 'application/json' } }),
        { status: 400, body: { errors: { _schema: ['Invalid input.'] } } },
        body
      )
    }
    t.match(await call('POST', '/auth/logout', { json: {} }), { status: 401 })
    t.ok(await signedIn(token))
  })

  t.test('A logout holds at once here, and within ten seconds in every other process', async t => {
    const token = await signIn(freshPhone())
    t.ok(await signedIn(token, other), 'the other one knows it now')
    await ok(call('POST', '/auth/logout', { token }))
    t.notOk(await signedIn(token))
    clock.advance(10)
    t.notOk(await signedIn(token, other))
  })
})

t.test('A block in the row ends every session, whatever else the row says', async t => {
  const phone = await namedPhone(service.app)
  const { body } = await ok(verify(service, phone, { refresh: true }))
  const token = await signIn(phone)
  t.ok(await signedIn(token, other))
  await setBlocked(service, phone, true)
  t.match(await call('POST', '/auth/refresh', { json: { refresh_token: body.refresh_token } }), INVALID_REFRESH)
  t.match(
    await other.call('POST', '/auth/logout', { token }),
    INVALID_TOKEN,
    'a request that changes something is refused at once'
  )
  clock.advance(10)
  t.same([await signedIn(token), await signedIn(token, other)], [false, false])
})

t.test('DELETE /auth/sessions/{id} ends one session of the caller', async t => {
  const phone = await namedPhone(service.app)
  const [mine, lost] = [await signIn(phone), await signIn(phone)]
  const stranger = await signIn(freshPhone())
  const notFound = { status: 404, body: { error: 'Session not found' } }
  t.match(
    await call('DELETE', `/auth/sessions/${idOf(stranger)}`, { token: mine }),
    notFound,
    'a session of another account'
  )
  for (const id of ['0123456789abcdef01234567', 'me', '%00', idOf(lost).toUpperCase(), '$ne']) {
    t.match(await call('DELETE', `/auth/sessions/${id}`, { token: mine }), notFound, id)
  }
  t.ok(await signedIn(stranger))
  const bodies = { '': 404, '{}': 404, '{': 400 }
  for (const [body, status] of Object.entries(bodies)) {
    t.equal(
      (await call('DELETE', '/auth/sessions/nobody', {
        token: mine,
        body,
        headers: { 'content-type': 'application/json' }
      })).status,
      status,
      body
    )
  }
  t.equal(
    (await call('DELETE', '/auth/sessions/nobody', {
      token: mine,
      body: 'x',
      headers: { 'content-type': 'text/plain' }
    })).status,
    415
  )
  t.same(
    await call('DELETE', `/auth/sessions/${idOf(lost)}`, { token: mine }).then(({ status, text }) => [status, text]),
    [204, '']
  )
  t.same([await signedIn(lost), await signedIn(mine)], [false, true])
  t.match(await call('DELETE', `/auth/sessions/${idOf(lost)}`, { token: mine }), notFound, 'only once')
})

t.test('A phone has at most ten sessions: the oldest goes, also when many sign-ins race', async t => {
  const phone = await namedPhone(service.app)
  const tokens: string[] = []
  for (let i = 0; i < 12; i++) {
    clock.advance(1)
    tokens.push(await service.tokenFor(phone))
  }
  t.same(await Promise.all(tokens.map(token => signedIn(token))), tokens.map((_, i) => i >= 2))
  clock.advance(1)
  await Promise.all(Array.from({ length: 30 }, (_, i) => (i % 2 ? service : other).tokenFor(phone)))
  clock.advance(1)
  t.equal((await ok(me(await service.tokenFor(phone)))).body.sessions.length, 10)
})

t.test('POST /auth/refresh', async t => {
  const start = async (phone = freshPhone()) => (await ok(verify(service, phone, { refresh: true }))).body
  const refresh = (token: unknown, at: Pick<Service, 'call'> = service) => at.call('POST', '/auth/refresh', {
    json: { refresh_token: token }
  })

  t.test('POST /auth/refresh gives an access token and the next refresh token for 30 days each time', async t => {
    let tokens = await start()
    t.match(tokens, {
      success: true,
      message: 'OTP verified',
      token_type: 'Bearer',
      expires_in: 900,
      refresh_token: String
    })
    for (let month = 0; month < 3; month++) {
      clock.advance(900)
      t.match(await me(tokens.access_token), INVALID_TOKEN, 'an access token lives 15 minutes')
      clock.advance(30 * DAY - 901)
      const { status, body } = await refresh(tokens.refresh_token)
      t.same(
        [status, Object.keys(body).sort(), body.expires_in],
        [200, ['access_token', 'expires_in', 'refresh_token', 'token_type'], 900]
      )
      t.equal(idOf(body.access_token), idOf(tokens.access_token), 'the session stays')
      t.ok(await signedIn(body.access_token))
      tokens = body
    }
    clock.advance(30 * DAY)
    t.match(await refresh(tokens.refresh_token), INVALID_REFRESH)
  })

  t.test('A client that does not ask gets no refresh token', async t => {
    t.notHas((await ok(verify(service, freshPhone()))).body, { refresh_token: String })
    t.notHas((await ok(verify(service, freshPhone(), { refresh: false }))).body, { refresh_token: String })
    t.match(await call('POST', '/auth/verify-otp', { json: { phone: freshPhone(), otp: '123456', refresh: 'true' } }), {
      status: 400,
      body: { errors: { refresh: ['Not a valid boolean.'] } }
    })
  })

  t.test('Parallel requests with one refresh token get one successor, also over two processes', async t => {
    for (let round = 0; round < RACES; round++) {
      const { refresh_token: token } = await start()
      const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => refresh(token, i % 2 ? service : other)))
      t.same(new Set(answers.map(({ status, body }) => `${status} ${body.refresh_token}`)).size, 1)
      t.equal((await refresh(answers[0]!.body.refresh_token)).status, 200)
    }
  })

  t.test(
    'The token before is answered the same for ten seconds; later, or an older one, is theft, and ends the session',
    async t => {
      for (const steal of [
        async (tokens: string[]) => { clock.advance(10.001); return tokens[2] },
        async (tokens: string[]) => tokens[1],
        async (tokens: string[]) => tokens[0]
      ]) {
        const first = await start()
        const second = (await ok(refresh(first.refresh_token))).body
        const third = (await ok(refresh(second.refresh_token))).body
        const fourth = (await ok(refresh(third.refresh_token))).body
        clock.advance(10)
        t.equal((await ok(refresh(third.refresh_token))).body.refresh_token, fourth.refresh_token)
        t.ok(await signedIn(fourth.access_token))
        t.match(
          await refresh(await steal([first.refresh_token, second.refresh_token, third.refresh_token])),
          INVALID_REFRESH
        )
        t.match(await refresh(fourth.refresh_token), INVALID_REFRESH, 'for the thief and for the owner')
        t.notOk(await signedIn(fourth.access_token))
      }
      const events = await eventually(async () => {
        await service.app.audit.flush()
        const found = await service.app.collections.audit.find({ event: 'refresh_token.reused' }).toArray()
        return found.length >= 3 && found
      })
      t.match(events[0], { phone: /^\+\*{8}\d{4}$/, network: '127.0.0.0/24', details: { session: /^[0-9a-f]{24}$/ } })
    }
  )

  t.test('A logout ends the refresh token', async t => {
    const tokens = await start()
    await ok(call('POST', '/auth/logout', { token: tokens.access_token }))
    t.match(await refresh(tokens.refresh_token), INVALID_REFRESH)
  })

  t.test('POST /auth/refresh refuses tokens that were not issued here, without a read of the database', async t => {
    const { refresh_token: token, access_token: accessToken } = await start()
    const [account, sid, n, mac] = token.split('.')
    for (const forged of [
      '',
      'x',
      accessToken,
      `${account}.${sid}.1.${mac}`,
      `${account}.${sid}.00.${mac}`,
      `${account}.${sid}.-0.${mac}`,
      `${account}.0123456789abcdef01234567.${n}.${mac}`,
      `0123456789abcdef01234567.${sid}.${n}.${mac}`,
      `${sid}.${n}.${mac}`,
      `${account}.${sid}.${n}.`,
      `${token}A`,
      token.slice(0, -1),
      `${token}=`,
      token.toUpperCase(),
      ` ${token}`,
      `${account}.${sid}.${n}.${'A'.repeat(43)}`
    ]) {
      t.match(await refresh(forged), INVALID_REFRESH, forged.replace(mac!, '…'))
    }
    for (const wrong of [null, 1, {}, [token], { $ne: null }]) {
      t.match(await refresh(wrong), { status: 400, body: { errors: { refresh_token: ['Not a valid string.'] } } })
    }
    t.match(await call('POST', '/auth/refresh', { json: {} }), {
      status: 400,
      body: { errors: { refresh_token: ['Missing data for required field.'] } }
    })
    t.equal((await refresh(token)).status, 200, 'and none of it did harm')
  })
})

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

t.test('Nothing in the log opens a session', async t => {
  const { body } = await ok(verify(service, freshPhone(), { refresh: true }))
  await ok(call('POST', '/auth/refresh', { json: { refresh_token: body.refresh_token } }))
  const logs = [...service.logs, ...other.logs].join('')
  for (const secret of [body.access_token.split('.')[2], body.refresh_token.split('.')[3]]) {
    t.notOk(logs.includes(secret))
  }
  t.notMatch(logs, /eyJ|\+91\d{10}/)
})

async function verify (at: Service, phone: string, extra: object = {}) {
  const otp = await requestCode(at, phone)
  return at.call('POST', '/auth/verify-otp', { json: { phone, otp, ...extra } })
}
