import { ObjectId } from 'mongodb'
import t from 'tap'
import {
  accountOf, auditEvents, claimsOf, createCaller, createUser, findAccount, freshName, freshPhone, makeAdmin,
  setBlocked
} from '../helpers/accounts.js'
import { answerOf, ok } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { requestCode, submitCode, wrongCode } from '../helpers/codes.js'
import { findItem } from '../helpers/items.js'
import { LEGACY_SECRET, legacyToken } from '../helpers/jws.js'
import { type Reply, startService } from '../helpers/service.js'
import { gif } from '../helpers/small-pictures.js'
import { scale } from '../helpers/test-length.js'

const USER_NOT_FOUND = { status: 404, body: { error: 'User not found' } }
const INVALID_TOKEN = { status: 401, body: { error: 'Invalid access token' } }
const INVALID_OTP = { status: 200, body: { success: false, message: 'Invalid OTP' } }
const NUMBER_TAKEN = { status: 409, body: { error: 'Phone number already in use' } }
const TEST_NUMBER = '+919999900000'
const ROUNDS = scale({ short: 5, long: 20 })
const CHANGES = scale({ short: 2, long: 4 })

t.setTimeout(1_200_000)
const services = await startServices(t)
const env = { OTP_TEST_NUMBERS: `${TEST_NUMBER}:123456` }
const service = await startService(t, { services, env })
/** Another process on the same database, which takes tokens of the replaced system. */
const other = await startService(t, {
  services,
  env: { ...env, JWT_LEGACY_SECRET: LEGACY_SECRET },
  now: () => service.clock.now
})
const { app, call, clock } = service
const { users } = app.collections

t.test('POST /users/me/number', async t => {
  t.test('The code of the new number changes it in place: devices, items and admin rights stay', async t => {
    const meera = await createUser(service)
    const second = await service.tokenFor(meera.phone)
    await makeAdmin(service, meera.phone)
    const { body: { id } } = await ok(service.upload(meera.token, gif))
    const to = freshPhone()
    t.match(await ask(meera.token, to.slice(3)), { status: 200, body: { message: 'OTP sent' } })
    const { status, body, headers } = await confirm(meera.token, ` ${to} `)
    t.equal(status, 200)
    t.strictSame(
      Object.keys(body).sort(),
      [
        '_id', 'access_token', 'admin', 'created_on', 'expires_in', 'message', 'number', 'success', 'token_type',
        'username'
      ]
    )
    t.match(body, {
      success: true,
      message: 'Number changed',
      _id: meera.id,
      username: meera.username,
      number: to,
      admin: true,
      token_type: 'Bearer',
      expires_in: 365 * 24 * 3600
    })
    t.equal(headers.get('cache-control'), 'no-store')

    for (const token of [meera.token, second, body.access_token]) {
      t.match(await call('GET', '/users/me', { token }), { status: 200, body: { _id: meera.id, number: to } })
    }
    t.match(
      claimsOf(body.access_token),
      { sid: claimsOf(meera.token).sid, sub: meera.id },
      'account and session are the same'
    )
    t.equal((await ok(call('GET', `/library/${id}`, { token: second }))).body.owner_id, meera.id)
    const asha = await createUser(service)
    t.match(
      await call('GET', `/users/${asha.id}`, { token: second }),
      { status: 200, body: { number: asha.phone } },
      'an admin still'
    )
    t.match(await findAccount(service, { phone: to }), { former_numbers: [{ number: meera.phone, until: clock.now }] })
    t.ok((await auditEvents(service, to)).includes('number.changed'))
    t.same(
      (await ok(call('POST', '/users', {
        token: meera.token,
        json: { username: meera.username, number: to }
      }))).body.user_id,
      meera.id,
      'the app signs in as ever'
    )
  })

  t.test('A number change leaves nothing behind for the next holder of the old number', async t => {
    const meera = await createUser(service)
    await requestCode(service, meera.phone)
    await changeNumber(meera, freshPhone())
    const { body: { access_token: token } } = await ok(submitCode(service, meera.phone, service.lastCode(meera.phone)))
    t.match(
      await call('GET', '/users/me', { token }),
      USER_NOT_FOUND,
      'a code that was out opens nothing of the user'
    )
    t.equal((await ok(call('GET', '/auth/sessions', { token }))).body.sessions.length, 1)
    t.not((await createUser(service, { phone: meera.phone, token })).id, meera.id)
    t.match(await call('GET', '/users/me', { token: meera.token }), { status: 200, body: { _id: meera.id } })
  })

  t.test(
    'After a number change, tokens of the replaced system open neither the account nor another at the old number',
    async t => {
      const who = await createCaller(service)
      const iat = clock.now.getTime() / 1000 - 1000
      const [unseen, seen] = [legacyToken(who.phone, { iat }), legacyToken(who.phone, { iat: iat + 1 })]
      t.equal((await other.call('GET', '/auth/sessions', { token: seen })).status, 200)
      const meera = await createUser(service, who)
      t.match(await other.call('GET', '/users/me', { token: seen }), { status: 200, body: { _id: meera.id } })
      const to = freshPhone()
      const ofNew = legacyToken(to, { iat })
      await changeNumber(meera, to)
      clock.advance(10)
      for (const token of [unseen, seen, ofNew]) t.match(await other.call('GET', '/users/me', { token }), INVALID_TOKEN)
      const next = await service.signIn(meera.phone)
      for (const token of [unseen, seen]) {
        t.match(
          await other.call('GET', '/auth/sessions', { token }),
          INVALID_TOKEN,
          'also when the old number has an account again'
        )
      }
      t.equal((await ok(other.call('GET', '/auth/sessions', { token: next.token }))).body.sessions.length, 1)
      clock.advance(1)
      const again = await service.signIn(to)
      t.equal((await call('DELETE', '/users/me', { token: again.token })).status, 204)
      for (const token of [unseen, seen, ofNew]) {
        t.match(await other.call('GET', '/auth/sessions', { token }), INVALID_TOKEN, 'nor when the account is deleted')
      }
    }
  )

  t.test('A number change takes the number from an account without a name, which is deleted', async t => {
    const former = await createCaller(service)
    const { body: { id } } = await ok(service.upload(former.token, gif))
    const account = await accountOf(app, former.phone)
    t.equal((await other.call('GET', '/auth/sessions', { token: former.token })).status, 200)
    const meera = await createUser(service)
    await changeNumber(meera, former.phone)
    clock.advance(10)
    for (const at of [service, other]) {
      t.match(await at.call('GET', '/auth/sessions', { token: former.token }), INVALID_TOKEN)
      t.match(await at.call('GET', '/users/me', { token: meera.token }), {
        status: 200,
        body: { _id: meera.id, number: former.phone }
      })
    }
    t.match(await findItem(service, id), { user_id: 'deleted' })
    t.match(await users.findOne({ _id: account }), { deleting: Date, sessions: [] })
    t.ok(await app.collections.released_numbers.findOne({ _id: former.phone }))
  })

  t.test('A number change does not take the number of a blocked account', async t => {
    const former = await createCaller(service)
    await setBlocked(service, former.phone, true)
    const meera = await createUser(service)
    await ok(ask(meera.token, former.phone))
    await setBlocked(service, former.phone, false)
    clock.advance(20)
    await ok(ask(meera.token, former.phone))
    await setBlocked(service, former.phone, true)
    t.match(await confirm(meera.token, former.phone), NUMBER_TAKEN)
    t.match(await call('GET', '/users/me', { token: meera.token }), { status: 200, body: { number: meera.phone } })
    t.match(await findAccount(service, former), { blocked: true })
  })

  t.test('POST /users/me/number answers 429 after 20 changes of one account', async t => {
    const meera = await createUser(service)
    await users.updateOne({ number: meera.phone }, {
      $set: { former_numbers: Array.from({ length: 20 }, () => ({ number: freshPhone(), until: clock.now })) }
    })
    const { status, headers } = await ask(meera.token, freshPhone())
    t.match([status, headers.get('retry-after')], [429, /^[1-9]\d*$/])
  })

  t.test('POST /users/me/number works before there is a name', async t => {
    const { token } = await createCaller(service)
    const to = freshPhone()
    await changeNumber({ token }, to)
    t.match(await findAccount(service, { phone: to }), { former_numbers: [{}] })
    t.match(await call('GET', '/users/me', { token }), USER_NOT_FOUND)
  })

  t.test('A wrong code, and one wrong code too many, get the answers of the login', async t => {
    const meera = await createUser(service)
    const to = freshPhone()
    t.match(await verify(meera.token, to, '123456'), INVALID_OTP, 'never asked for')
    for (let round = 0; round < 2; round++) {
      await ok(ask(meera.token, to))
      const wrong = wrongCode(service, to)
      for (const otp of ['', '12345', 'abcdef', wrong, wrong, wrong, wrong, wrong]) {
        t.strictSame(answerOf(await verify(meera.token, to, otp)), INVALID_OTP)
      }
      t.strictSame(
        answerOf(round === 0 ? await confirm(meera.token, to) : INVALID_OTP),
        INVALID_OTP,
        'the code is dead'
      )
      clock.advance(60)
    }
    await ok(ask(meera.token, to))
    const wrong = wrongCode(service, to)
    await ok(verify(meera.token, to, wrong))
    const { status, headers } = await confirm(meera.token, to)
    t.match([status, headers.get('retry-after')], [429, /^[1-9]\d*$/])
    t.match(await call('GET', '/users/me', { token: meera.token }), { status: 200, body: { number: meera.phone } })
  })

  t.test('The budgets of the login hold for a number change', async t => {
    const meera = await createUser(service)
    const to = freshPhone()
    for (const gap of [0, 15, 30]) {
      clock.advance(gap)
      t.equal((await ask(meera.token, to)).status, 200)
    }
    t.equal(service.sms.filter(sms => sms.to === to).length, 3, 'from one address')
    clock.advance(61)
    const { status, headers } = await ask(meera.token, to)
    t.match([status, headers.get('retry-after')], [429, /^[1-9]\d*$/])
  })

  t.test('Only the right code tells whether the number is taken', async t => {
    const [meera, asha] = [await createUser(service), await createUser(service)]
    t.match(await ask(meera.token, asha.phone), { status: 200, body: { message: 'OTP sent' } })
    t.match(await verify(meera.token, asha.phone, 'x'), INVALID_OTP)
    t.match(await confirm(meera.token, asha.phone), NUMBER_TAKEN)
    t.match(await call('GET', '/users/me', { token: meera.token }), { status: 200, body: { number: meera.phone } })
    t.match(await call('GET', '/users/me', { token: asha.token }), { status: 200, body: { _id: asha.id } })
  })

  t.test('POST /users/me/number refuses the caller\'s present number', async t => {
    const meera = await createUser(service)
    for (const answer of [await ask(meera.token, meera.phone), await verify(meera.token, meera.phone, '123456')]) {
      t.match(answer, { status: 400, body: { errors: { number: ['Not a valid value.'] } } })
    }
  })

  t.test('POST /users/me/number refuses an invalid number and a test number', async t => {
    const meera = await createUser(service)
    for (const path of ['/users/me/number', '/users/me/number/verify']) {
      const send = (number: unknown) => call('POST', path, { token: meera.token, json: { number, otp: '123456' } })
      for (const number of ['', 'x', '123', '\ud800', '+0', `${freshPhone()} ext. 5`]) {
        t.match(
          await send(number),
          { status: 400, body: { errors: { number: ['Not a valid phone number.'] } } },
          JSON.stringify(number)
        )
      }
      for (const number of [null, 919876543210, true, [freshPhone()], { $gt: '' }, { $ne: null }, { $regex: '.*' }]) {
        t.match(
          await send(number),
          { status: 400, body: { errors: { number: ['Not a valid string.'] } } },
          JSON.stringify(number)
        )
      }
      t.match(await send(TEST_NUMBER), { status: 400, body: { errors: { number: ['Not a valid value.'] } } })
      t.match(await call('POST', path, { token: meera.token, json: {} }), {
        status: 400,
        body: { errors: { number: ['Missing data for required field.'] } }
      })
      t.match(await call('POST', path, { token: meera.token }), {
        status: 400,
        body: { errors: { _schema: ['Invalid input.'] } }
      })
    }
    for (const otp of [null, 123456, [], {}, { $gt: '' }, { $ne: null }]) {
      t.match(await verify(meera.token, freshPhone(), otp), {
        status: 400,
        body: { errors: { otp: ['Not a valid string.'] } }
      })
    }
    t.match(await call('GET', '/users/me', { token: meera.token }), { status: 200, body: { number: meera.phone } })
  })

  t.test('The account of a test number keeps its number', async t => {
    const token = await service.tokenFor(TEST_NUMBER)
    const { id } = await createUser(service, { phone: TEST_NUMBER, token })
    const to = freshPhone()
    for (const answer of [await ask(token, to), await verify(token, to, '123456')]) {
      t.match(answer, { status: 400, body: { errors: { number: ['Not a valid value.'] } } })
    }
    t.match(await call('GET', '/users/me', { token }), { status: 200, body: { _id: id, number: TEST_NUMBER } })
  })

  t.test('A number that another caller registers meanwhile belongs to one user', async t => {
    for (let round = 0; round < ROUNDS; round++) {
      const meera = await createUser(service)
      const rival = await createCaller(service)
      clock.advance(60)
      await ok(ask(meera.token, rival.phone))
      const [move, creation] = await Promise.all([
        confirm(meera.token, rival.phone),
        call('POST', '/users', { token: rival.token, json: { username: freshName(), number: rival.phone } })
      ])
      t.match(
        [[200, 409], [200, 401], [200, 403], [409, 201]].some(([a, b]) => a === move.status && b === creation.status),
        true,
        `${move.status} ${creation.status}`
      )
      t.equal(await users.countDocuments({ number: rival.phone }), 1)
      t.equal(
        await users.countDocuments({
          _id: new ObjectId(meera.id),
          number: move.status === 200 ? rival.phone : meera.phone
        }),
        1
      )
    }
  })

  t.test('Two devices that change to two numbers at once end at one of them, with everything', async t => {
    const meera = await createUser(service)
    const second = await service.tokenFor(meera.phone)
    const { body: { id } } = await ok(service.upload(meera.token, gif))
    const [a, b] = [freshPhone(), freshPhone()]
    await Promise.all([ok(ask(meera.token, a)), ok(ask(second, b))])
    const answers = await Promise.all([
      confirm(meera.token, a),
      other.call('POST', '/users/me/number/verify', { token: second, json: { number: b, otp: service.lastCode(b) } })
    ])
    t.same(answers.map(({ status }) => status), [200, 200])
    clock.advance(10)
    const { body: { number } } = await ok(call('GET', '/users/me', { token: meera.token }))
    t.ok([a, b].includes(number))
    t.match(await call('GET', '/users/me', { token: second }), { status: 200, body: { _id: meera.id, number } })
    t.equal((await ok(call('GET', `/library/${id}`, { token: second }))).body.owner_id, meera.id)
  })

  t.test('Uploads and number changes at once lose nothing', async t => {
    const meera = await createUser(service)
    const numbers = Array.from({ length: CHANGES }, freshPhone)
    const sent: Array<Promise<Reply>> = []
    for (const number of numbers) {
      await ok(ask(meera.token, number))
      for (let i = 0; i < 3; i++) sent.push(service.upload(meera.token, gif), other.upload(meera.token, gif))
      t.equal((await confirm(meera.token, number)).status, 200)
    }
    for (const { status, body } of await Promise.all(sent)) t.same([status, body.owner_id], [201, meera.id])
  })
})

function ask (token: string, number: string): Promise<Reply> {
  return call('POST', '/users/me/number', { token, json: { number } })
}

function verify (token: string, number: string, otp: unknown): Promise<Reply> {
  return call('POST', '/users/me/number/verify', { token, json: { number, otp } })
}

/** Confirms the number with the code of the last SMS. */
function confirm (token: string, number: string): Promise<Reply> {
  return verify(token, number, service.lastCode(number.trim()))
}

async function changeNumber ({ token }: { token: string }, to: string): Promise<void> {
  await ok(ask(token, to))
  const { body } = await ok(confirm(token, to))
  if (!body.success) throw new Error(`the number change was answered ${JSON.stringify(body)}`)
}
