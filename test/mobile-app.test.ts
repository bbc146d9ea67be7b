import t from 'tap'
import { gif } from './helpers/small-pictures.js'
import { createUser, freshPhone } from './helpers/accounts.js'
import { startService } from './helpers/service.js'

/**
 * The released mobile app, as the server sees it: it reads no body outside 2xx, submits by itself at the sixth digit,
 * and knows one token.
 */
t.test('the released mobile app signs in, uploads and lists with each notation of one number', async t => {
  const service = await startService(t)
  const { call, sms, clock } = service
  const phone = freshPhone()
  const national = phone.slice(3)
  const formats = [phone, national, `0${national}`, `${phone.slice(0, 3)} ${national.slice(0, 5)}-${national.slice(5)}`]
  const tokens: string[] = []
  const ids = new Set<string>()

  for (const number of formats) {
    clock.advance(3600)
    const before = sms.length
    const mounted = await Promise.all([1, 2].map(() => call('POST', '/auth/request-otp', { json: { phone: number } })))
    t.same(
      mounted.map(({ status, body }) => [status, body]),
      [[200, { message: 'OTP sent' }], [200, { message: 'OTP sent' }]],
      'the page is mounted twice'
    )
    t.same(sms.slice(before).map(({ to }) => to), [phone], 'one SMS, to one number')

    const otp = service.lastCode(phone)
    const submitted = await Promise.all([1, 2].map(() =>
      call('POST', '/auth/verify-otp', { json: { phone: number, otp } })))
    t.same(
      submitted.map(({ status, body }) => [status, body.success]).sort(),
      [[200, false], [200, true]],
      'the form is submitted twice'
    )
    const { access_token: token } = submitted.find(({ body }) => body.success)!.body
    t.equal(typeof token, 'string')
    tokens.push(token)

    const created = await call('POST', '/users', { token, json: { username: 'meera', number } })
    t.match(created, { status: 201, body: { message: 'User created' } })
    ids.add(created.body.user_id)
    t.match(await call('GET', `/users/${created.body.user_id}`, { token }), {
      status: 200,
      body: { username: 'meera', number: phone }
    })
    const uploaded = await service.upload(token, gif, {
      filename: 'fox.gif',
      fields: { user_id: created.body.user_id }
    })
    t.equal(uploaded.status, 201)
  }
  t.equal(ids.size, 1, 'one person, in whatever notation')

  const items: Array<{ url: string }> = []
  for (let page = 1, pages = 2; page <= pages; page++) {
    const { status, body } = await call('GET', `/library?page=${page}&per_page=3`, { token: tokens[0] })
    t.equal(status, 200, 'the token of the first sign-in is still good')
    items.push(...body.items)
    pages = body.total_pages
  }
  t.equal(items.length, 4)
  for (const { url } of items) {
    const response = await fetch(url)
    t.same(
      [response.status, response.headers.get('content-type'), Buffer.from(await response.arrayBuffer())],
      [200, 'image/gif', gif],
      'fetched without a header, and shown as it is'
    )
  }
})

t.test('a number written in twenty ways is one number in codes, guesses, users and an admin\'s search', async t => {
  const [admin, phone] = [freshPhone(), freshPhone()]
  const service = await startService(t, { env: { ADMIN_NUMBERS: admin } })
  const { call, sms, clock } = service
  const { token: chief } = await createUser(service, { phone: admin, token: (await service.signIn(admin)).token })
  const ways = notations(phone.slice(3))
  t.equal(new Set(ways).size, 20)
  const ids = new Set<string>()
  for (const [i, way] of ways.entries()) {
    clock.advance(5 * 3600) // one address may ask five times in 24 hours
    t.equal((await call('POST', '/auth/request-otp', { json: { phone: way } })).status, 200, JSON.stringify(way))
    t.equal(sms.at(-1)?.to, phone)
    const verified = await call('POST', '/auth/verify-otp', {
      json: { phone: ways.at(i - 1), otp: service.lastCode(phone) }
    })
    t.match(verified, { status: 200, body: { success: true } })
    const created = await call('POST', '/users', {
      token: verified.body.access_token,
      json: { username: 'meera', number: ways.at(i - 2) }
    })
    t.equal(created.status, 201)
    ids.add(created.body.user_id)
    const found = await call('GET', `/users?number=${encodeURIComponent(way)}`, { token: chief })
    t.match(found, { status: 200, body: { users: [{ _id: [...ids][0], number: phone }] } })
  }
  t.equal(ids.size, 1)
})

/** Twenty ways to write an Indian number of ten digits. */
function notations (digits: string): string[] {
  const [a, b] = [digits.slice(0, 5), digits.slice(5)]
  const wide = (text: string) => text.replace(/\d/g, digit => String.fromCharCode(digit.charCodeAt(0) + 0xfee0))
  return [
    digits,
    `0${digits}`,
    `91${digits}`,
    `+91${digits}`,
    `0091${digits}`,
    `${a} ${b}`,
    `${a}-${b}`,
    `${a}.${b}`,
    `0${a} ${b}`,
    `+91 ${a} ${b}`,
    `+91-${a}-${b}`,
    `+91 (0) ${a}-${b}`,
    `(+91) ${a} ${b}`,
    `(0)${digits}`,
    `  ${digits}  `,
    `${a}\u00a0${b}`,
    wide(digits),
    `＋${wide(`91${digits}`)}`,
    `${a}–${b}`,
    `00 91 ${a} ${b}`
  ]
}
