import t from 'tap'
import { freshPhone } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { type Service } from '../helpers/service.js'
import { DAY, idOf, INVALID_REFRESH, INVALID_TOKEN, startTwoServices, verify } from '../helpers/sessions.js'
import { scale } from '../helpers/test-length.js'
import { eventually } from '../helpers/wait.js'

/** Rounds of parallel refreshes. */
const RACES = scale({ short: 5, long: 20 })

t.setTimeout(1_200_000)
const { service, other, me, signedIn } = await startTwoServices(t)
const { call, clock } = service

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
