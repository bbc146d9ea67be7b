import t from 'tap'
import { createUser, freshAddress, freshPhone } from '../helpers/accounts.js'
import { answerOf, ok, refusal } from '../helpers/answers.js'
import { otpStateOf, useWrongCode, wrongCode } from '../helpers/codes.js'
import { burstOf } from '../helpers/pipelined-posts.js'
import { type Reply, startService } from '../helpers/service.js'
import { codeIn } from '../helpers/sms-gateway.js'

const REQUEST = '/auth/request-otp'
const VERIFY = '/auth/verify-otp'
const INVALID = { success: false, message: 'Invalid OTP' }

const service = await startService(t, { env: { TRUST_PROXY: 'loopback', SMS_WEB_ORIGIN: 'app.hookaba.com' } })
const { call, clock, sms } = service
const burst = burstOf(t, service)

for (const [path, valid] of [
  [REQUEST, { phone: '+919876500000' }],
  [VERIFY, { phone: '+919876500000', otp: '123456' }]
] as const) {
  t.test(`POST ${path}`, async t => {
    const missing = Object.fromEntries(Object.keys(valid).map(name => [name, ['Missing data for required field.']]))

    t.test('The answer names every missing member', async t => {
      t.strictSame(answerOf(await call('POST', path, { json: {} })), refusal(missing))
      for (const name of Object.keys(valid)) {
        t.strictSame(
          answerOf(await call('POST', path, { json: { ...valid, [name]: undefined } })),
          refusal({ [name]: missing[name]! }),
          name
        )
      }
    })

    t.test('A member that is no string, null included, is refused and not converted', async t => {
      for (const name of Object.keys(valid)) {
        for (const value of [null, 9876543210, 0, 1.5, true, false, [], ['9876543210'], {}, { $ne: '' }, { $gt: '' }]) {
          t.strictSame(
            answerOf(await call('POST', path, { json: { ...valid, [name]: value } })),
            refusal({ [name]: ['Not a valid string.'] }),
            `${name}: ${JSON.stringify(value)}`
          )
        }
      }
    })

    t.test('An invalid phone number is refused', async t => {
      for (const phone of [
        '',
        ' ',
        'x',
        '12',
        'tel:+919876500000',
        '+919876500000 ext 1',
        '9876500000\0',
        '\u200f9876500000',
        '1234567890123456',
        '+0',
        '9'.repeat(10_000),
        '\ud800'
      ]) {
        t.strictSame(
          answerOf(await call('POST', path, { json: { ...valid, phone } })),
          refusal({ phone: ['Not a valid phone number.'] }),
          JSON.stringify(phone.slice(0, 30)).replace(/[^ -~]/g, '?')
        )
      }
    })

    t.test('A body that is no JSON object is refused', async t => {
      const headers = { 'content-type': 'application/json' }
      const documents = [
        '', ' ', '[]', '"x"', '1', 'null', 'true', `[${JSON.stringify(valid)}]`, '{', '{"phone":',
        `${JSON.stringify(valid)}x`, "{'phone':'1'}", `\ufeff${JSON.stringify(valid)}`, '\u0000', 'NaN'
      ]
      for (const body of documents) {
        t.strictSame(
          answerOf(await call('POST', path, { body, headers })),
          refusal({ _schema: ['Invalid input.'] }),
          JSON.stringify(body).replace(/[^ -~]/g, '?')
        )
      }
      t.strictSame(
        answerOf(await call('POST', path, { body: Buffer.from('{"phone":"\xff"}', 'latin1'), headers })),
        refusal({ _schema: ['Invalid input.'] }),
        'no UTF-8'
      )
      t.strictSame(answerOf(await call('POST', path)), refusal({ _schema: ['Invalid input.'] }), 'no body')
    })

    t.test('A body is read as JSON in UTF-8 and as nothing else', async t => {
      const body = JSON.stringify(valid)
      for (const type of [
        'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/xml',
        'application/jsonp', 'application/json-patch+json', 'application/json; charset=utf-16', 'application', ';',
        'text/json'
      ]) {
        const { status, body: answer } = await call('POST', path, { body, headers: { 'content-type': type } })
        t.same([status, answer], [415, { error: 'Unsupported media type' }], type)
      }
      const { status, body: answer } = await call('POST', path, { body: Buffer.from(body) })
      t.same([status, answer], [415, { error: 'Unsupported media type' }], 'no content type')
      for (const type of [
        'application/json', 'Application/JSON', 'application/json; charset=utf-8', 'application/json;charset="UTF-8"'
      ]) {
        t.equal((await call('POST', path, { body, headers: { 'content-type': type } })).status, 200, type)
      }
    })

    t.test('A body of more than 16 KiB is refused', async t => {
      const json = (bytes: number) => ({
        ...valid,
        padding: 'x'.repeat(bytes - JSON.stringify({ ...valid, padding: '' }).length)
      })
      t.equal((await call('POST', path, { json: json(16 * 1024) })).status, 200)
      const { status, body } = await call('POST', path, { json: json(16 * 1024 + 1) })
      t.same([status, body], [413, { error: 'Request body is larger than 16384 bytes' }])
    })

    t.test('Unknown members are ignored', async t => {
      t.equal(
        (await call('POST', path, { json: { ...valid, admin: true, code: 1, $where: 'x', constructor: 'x' } })).status,
        200
      )
    })

    t.test('No other method is answered', async t => {
      for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
        const { status, headers, body } = await call(method, path)
        t.equal(status, 405, method)
        t.equal(headers.get('allow'), 'POST', method)
        t.same(body, { error: 'Method not allowed' })
      }
    })
  })
}

t.test(`POST ${REQUEST}`, async t => {
  t.test('POST /auth/request-otp sends one SMS with a code, and says so', async t => {
    const phone = freshPhone()
    const { status, body, headers } = await requestOtp(phone)
    t.same([status, body], [200, { message: 'OTP sent' }])
    t.match(headers.get('x-request-id'), /^[0-9a-f-]{36}$/)
    t.equal(headers.get('cache-control'), 'no-store')
    t.same(smsTo(phone).length, 1)
  })

  t.test('The SMS is worded for the platform', async t => {
    for (const [platform, wording] of [
      [undefined, /^<#> Your Hookaba code is: \d{6}\nFA\+9qCX9VSu$/],
      ['other', /^<#> Your Hookaba code is: \d{6}\nFA\+9qCX9VSu$/],
      ['android', /^<#> Your Hookaba code is: \d{6}\nFA\+9qCX9VSu$/],
      ['ios', /^\d{6} is your Hookaba verification code\.$/],
      ['web', /^Your Hookaba code is: (\d{6})\n@app\.hookaba\.com #\1$/]
    ] as const) {
      const phone = freshPhone()
      t.equal((await call('POST', REQUEST, { json: { phone, platform } })).status, 200)
      t.match(sms.at(-1), { to: phone, body: wording }, String(platform))
    }
  })

  t.test('POST /auth/request-otp takes the known platforms alone', async t => {
    for (const platform of ['', 'Android', 'windows', 'web ', '__proto__', 'toString']) {
      t.strictSame(
        answerOf(await call('POST', REQUEST, { json: { phone: freshPhone(), platform } })),
        refusal({ platform: ['Must be one of: android, ios, web, other.'] }),
        platform
      )
    }
    for (const platform of [null, 1, true, [], ['ios'], {}]) {
      t.strictSame(
        answerOf(await call('POST', REQUEST, { json: { phone: freshPhone(), platform } })),
        refusal({ platform: ['Not a valid string.'] }),
        JSON.stringify(platform)
      )
    }
  })

  t.test('The answer names everything that is wrong at once', async t => {
    t.strictSame(answerOf(await call('POST', REQUEST, { json: { phone: 1, platform: 'x' } })), refusal({
      phone: ['Not a valid string.'],
      platform: ['Must be one of: android, ios, web, other.']
    }))
  })

  t.test('A number is one phone in every notation', async t => {
    const phone = freshPhone()
    const national = phone.slice(3)
    for (const way of [
      national,
      `0${national}`,
      `+91 ${national.slice(0, 5)}-${national.slice(5)}`,
      `0091${national}`,
      national.replace(/\d/g, digit => String.fromCharCode(digit.charCodeAt(0) + 0xfee0))
    ]) {
      t.equal((await requestOtp(way)).status, 200)
    }
    t.same(smsTo(phone).length, 1, 'the gap holds for all of them')
    t.match(await verify(`(0) ${national}`, service.lastCode(phone)), { status: 200, body: { success: true } })
  })

  t.test('The login answers a known and an unknown phone alike', async t => {
    const { phone } = await service.signIn()
    await createUser(service, { phone })
    const known = await requestOtp(phone)
    const unknown = await requestOtp(freshPhone())
    t.same([known.status, known.text], [unknown.status, unknown.text])
    const names = (reply: Reply) => [...reply.headers.keys()]
    t.same(names(known), names(unknown))
    const wrong = await Promise.all([verify(phone, wrongCode(service, phone)), verify(freshPhone(), '123456')])
    t.same([wrong[0].status, wrong[0].text, names(wrong[0])], [wrong[1].status, wrong[1].text, names(wrong[1])])
  })

  t.test('A second request within the gap is answered the same and sends nothing', async t => {
    const phone = freshPhone()
    for (const { wait, sent } of [
      { wait: 0, sent: 1 },
      { wait: 14.999, sent: 1 },
      { wait: 0.001, sent: 2 },
      { wait: 29.999, sent: 2 },
      { wait: 0.001, sent: 3 },
      { wait: 59.999, sent: 3 },
      { wait: 0.001, sent: 4 },
      { wait: 119.999, sent: 4 },
      { wait: 0.001, sent: 5 }
    ]) {
      clock.advance(wait)
      t.same((await ok(requestOtp(phone))).body, { message: 'OTP sent' })
      t.same(smsTo(phone).length, sent)
    }
    t.equal(new Set(smsTo(phone)).size, 1, 'a resend repeats the code')
  })

  t.test('A phone gets at most five SMS in ten minutes, and ten in a day', async t => {
    const phone = freshPhone()
    for (let sent = 1; sent <= 5; sent++) await spend(phone)
    const sixth = await requestOtp(phone)
    t.same([sixth.status, sixth.body], [429, { error: 'Too many codes requested' }])
    t.equal(sixth.headers.get('retry-after'), '600')
    clock.advance(600)
    for (let sent = 6; sent <= 10; sent++) await spend(phone)
    clock.advance(3600)
    const eleventh = await requestOtp(phone)
    t.equal(eleventh.status, 429)
    t.equal(eleventh.headers.get('retry-after'), String(86_400 - 600 - 3600))
    clock.advance(86_400 - 600 - 3600)
    t.equal((await requestOtp(phone)).status, 200)
    t.same(smsTo(phone).length, 11)
  })

  t.test('Many requests at once send one SMS', async t => {
    const phone = freshPhone()
    const answers = await burst(Array.from({ length: 50 }, () => ({ path: REQUEST, json: { phone } })))
    t.ok(answers.every(({ status, body }) => status === 200 && body.message === 'OTP sent'))
    t.same(smsTo(phone).length, 1)
  })
})

t.test(`POST ${VERIFY}`, async t => {
  t.test('POST /auth/verify-otp gives a token for the right code, once', async t => {
    const phone = freshPhone()
    await ok(requestOtp(phone))
    const otp = service.lastCode(phone)
    const { status, body } = await verify(phone, otp)
    t.equal(status, 200)
    t.same({ ...body, access_token: '' }, {
      success: true,
      message: 'OTP verified',
      access_token: '',
      token_type: 'Bearer',
      expires_in: 365 * 86_400
    })
    const claims = JSON.parse(Buffer.from(body.access_token.split('.')[1], 'base64url').toString())
    t.match(claims, { sub: /^[0-9a-f]{24}$/, iss: 'hookaba', aud: 'hookaba', iat: Number, exp: Number })
    t.equal(claims.exp - claims.iat, body.expires_in)
    t.equal(
      (await call('GET', '/users/me', { token: body.access_token })).status,
      404,
      'the token is taken; there is no user yet'
    )
    t.same((await ok(verify(phone, otp))).body, INVALID)
  })

  t.test('Wrong, expired, used, exhausted and never requested codes are answered alike', async t => {
    const [wrong, expired, used, exhausted] = [freshPhone(), freshPhone(), freshPhone(), freshPhone()]
    await ok(requestOtp(expired))
    clock.advance(300)
    for (const phone of [wrong, used, exhausted]) await ok(requestOtp(phone))
    await ok(verify(used, service.lastCode(used)))
    await useWrongCode(service, exhausted, 5)
    const answers = [
      await verify(wrong, wrongCode(service, wrong)),
      await verify(expired, service.lastCode(expired)),
      await verify(used, service.lastCode(used)),
      await verify(exhausted, service.lastCode(exhausted)),
      await verify(freshPhone(), '123456')
    ]
    for (const { status, text } of answers) t.same([status, text], [200, JSON.stringify(INVALID)])
  })

  t.test('A code lives 300 s, to the millisecond', async t => {
    const phone = freshPhone()
    await ok(requestOtp(phone))
    clock.advance(299.999)
    t.match(await verify(phone, service.lastCode(phone)), { status: 200, body: { success: true } })
  })

  t.test(
    'Processes whose clocks differ by a minute take each other\'s codes, and a clock that steps back ends none',
    async t => {
      const late = await startService(t, {
        services: service.services,
        now: () => new Date(clock.now.getTime() - 30_000)
      })
      const early = await startService(t, {
        services: service.services,
        now: () => new Date(clock.now.getTime() + 30_000)
      })
      const [first, second, third] = [freshPhone(), freshPhone(), freshPhone()]
      await ok(late.call('POST', REQUEST, { json: { phone: first } }))
      await ok(early.call('POST', REQUEST, { json: { phone: second } }))
      const answers = [
        await early.call('POST', VERIFY, { json: { phone: first, otp: late.lastCode(first) } }),
        await late.call('POST', VERIFY, { json: { phone: second, otp: early.lastCode(second) } })
      ]
      await ok(requestOtp(third))
      clock.advance(-300)
      answers.push(await verify(third, service.lastCode(third)))
      clock.advance(300)
      for (const answer of answers) t.match(answer, { status: 200, body: { success: true } })
      for (const { body } of answers.slice(0, 2)) {
        t.equal(
          (await late.call('GET', '/auth/sessions', { token: body.access_token })).status,
          200,
          'and the tokens, too'
        )
      }
    }
  )

  t.test('The fifth guess may be the right one', async t => {
    const phone = freshPhone()
    await ok(requestOtp(phone))
    for (let tries = 1; tries <= 4; tries++) t.same((await ok(verify(phone, wrongCode(service, phone)))).body, INVALID)
    t.match(await verify(phone, service.lastCode(phone)), { status: 200, body: { success: true } })
  })

  t.test('A resend refills no tries', async t => {
    const phone = freshPhone()
    await ok(requestOtp(phone))
    await useWrongCode(service, phone, 3)
    clock.advance(15)
    await ok(requestOtp(phone))
    await useWrongCode(service, phone, 2)
    t.same(smsTo(phone).length, 2)
    t.same((await ok(verify(phone, service.lastCode(phone)))).body, INVALID)
  })

  t.test('A guess without exactly six digits is no try', async t => {
    const phone = freshPhone()
    await ok(requestOtp(phone))
    const code = service.lastCode(phone)
    for (const otp of [
      '',
      ' ',
      '12345',
      '1234567',
      'abcdef',
      ` ${code}`,
      `${code} `,
      `${code}\n`,
      `${code}\0`,
      '①②③④⑤⑥',
      '9'.repeat(10_000),
      '\ud800',
      '$ne'
    ]) {
      const { status, body } = await verify(phone, otp)
      t.same([status, body], [200, INVALID])
    }
    t.match(await verify(phone, code), { status: 200, body: { success: true } })
  })

  t.test('A code is for the phone it was sent to', async t => {
    const [mine, yours] = [freshPhone(), freshPhone()]
    await ok(requestOtp(mine))
    await ok(requestOtp(yours))
    if (service.lastCode(mine) !== service.lastCode(yours)) {
      t.same((await ok(verify(yours, service.lastCode(mine)))).body, INVALID)
    }
    t.match(await verify(yours, service.lastCode(yours)), { status: 200, body: { success: true } })
  })

  t.test('The tenth failure in a row makes the phone wait, also with the right code', async t => {
    const phone = freshPhone()
    await ok(requestOtp(phone))
    await useWrongCode(service, phone, 5)
    await ok(requestOtp(phone))
    await useWrongCode(service, phone, 4)
    t.same((await ok(verify(phone, wrongCode(service, phone)))).body, INVALID, 'the tenth answers like the others')
    await ok(requestOtp(phone))
    for (const otp of [service.lastCode(phone), wrongCode(service, phone), 'x']) {
      const { status, body, headers } = await verify(phone, otp)
      t.same([status, body, headers.get('retry-after')], [429, { error: 'Too many wrong codes' }, '1'])
    }
    clock.advance(1)
    t.match(await verify(phone, service.lastCode(phone)), { status: 200, body: { success: true } })
  })

  t.test('Nothing stored tells the code', async t => {
    const phone = freshPhone()
    await ok(requestOtp(phone))
    const stored = JSON.stringify(await otpStateOf(service, phone))
    t.match(stored, /"nonce"/)
    t.notMatch(stored.replaceAll(/"[^"]*Z"|"\+\d+"/g, ''), service.lastCode(phone))
  })
})

/** Each request comes from a client address of its own. */
function requestOtp (phone: string): Promise<Reply> {
  return call('POST', REQUEST, { json: { phone }, headers: { 'x-forwarded-for': freshAddress() } })
}

function verify (phone: string, otp: string): Promise<Reply> {
  return call('POST', VERIFY, { json: { phone, otp } })
}

/** Asks for an SMS and uses its code up, so that the next request meets no gap. */
async function spend (phone: string): Promise<void> {
  await ok(requestOtp(phone))
  await ok(verify(phone, service.lastCode(phone)))
}

function smsTo (phone: string): string[] {
  return sms.filter(({ to }) => to === phone).map(codeIn)
}
