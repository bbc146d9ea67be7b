import t from 'tap'
import { freshPhone } from '../helpers/accounts.js'
import { startService } from '../helpers/service.js'

const service = await startService(t)
const { call } = service

const INVISIBLE = [
  '\u2800', '\u0301', '\u200B', '\u3164', '\u00AD', '\u{E0041}\u{E0042}', '\uFFA0', '\u115F\u1160', '\u2060\uFE0F',
  '\u{1D159}', '\u{13441}', '\u034F', '\u180E', '\u0301\u2800\u200B', '\uD800', 'a\uDC00', '\uDC00\uD800'
]
const VISIBLE = ['é', 'e\u0301x', '👍🏽', '👩‍👩‍👧', '...', '7', 'मीरा', '\u200Babc', 'न\u094D\u200Dय', '\u2800x']

t.test('POST /users and PATCH /users/me refuse a username without anything to see, and take one with', async t => {
  const phone = freshPhone()
  const token = await service.tokenFor(phone)
  const refused = { status: 400, body: { errors: { username: ['Not a valid value.'] } } }
  for (const username of INVISIBLE) {
    t.match(
      await call('POST', '/users', { token, json: { username, number: phone } }),
      refused,
      JSON.stringify(username)
    )
  }
  t.equal((await call('POST', '/users', { token, json: { username: 'first', number: phone } })).status, 201)
  for (const username of INVISIBLE) {
    t.match(await call('PATCH', '/users/me', { token, json: { username } }), refused, JSON.stringify(username))
  }
  for (const username of VISIBLE) {
    t.match(
      await call('PATCH', '/users/me', { token, json: { username } }),
      { status: 200, body: { username: username.normalize('NFC') } },
      JSON.stringify(username)
    )
  }
})

t.test(
  'POST /users answers 409 for a username that differs only in invisible characters, in case or in compatibility forms',
  async t => {
    const owner = freshPhone()
    t.equal(
      (await call('POST', '/users', {
        token: await service.tokenFor(owner),
        json: { username: 'Straße 5', number: owner }
      })).status,
      201
    )
    const phone = freshPhone()
    const token = await service.tokenFor(phone)
    for (const username of [
      'STRASSE 5', 'stra\u00ADße 5', 'Straße\u200B 5', 'Ｓtraße ５', 'straße\u{E0041} 5', '\uFEFFStraße 5'
    ]) {
      t.match(
        await call('POST', '/users', { token, json: { username, number: phone } }),
        { status: 409, body: { error: 'Username already in use' } },
        JSON.stringify(username)
      )
    }
  }
)
