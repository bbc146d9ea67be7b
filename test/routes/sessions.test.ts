import t from 'tap'
import { accountOf, claimsOf, createUser, freshPhone, namedPhone, setBlocked } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { compact, sharedSecret } from '../helpers/jws.js'
import { startService } from '../helpers/service.js'
import { DAY, idOf, INVALID_REFRESH, INVALID_TOKEN, startTwoServices, verify } from '../helpers/sessions.js'

t.setTimeout(1_200_000)
const { services, service, other, me, signedIn, signIn } = await startTwoServices(t)
const { call, clock } = service

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

t.test('Nothing in the log opens a session', async t => {
  const { body } = await ok(verify(service, freshPhone(), { refresh: true }))
  await ok(call('POST', '/auth/refresh', { json: { refresh_token: body.refresh_token } }))
  const logs = [...service.logs, ...other.logs].join('')
  for (const secret of [body.access_token.split('.')[2], body.refresh_token.split('.')[3]]) {
    t.notOk(logs.includes(secret))
  }
  t.notMatch(logs, /eyJ|\+91\d{10}/)
})
