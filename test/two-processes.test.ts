import t from 'tap'
import { freshPhone } from './helpers/accounts.js'
import { ok } from './helpers/answers.js'
import { environment, startServices } from './helpers/backends.js'
import { signInTo, startProcess, type ServerProcess } from './helpers/server-process.js'
import { scale } from './helpers/test-length.js'
import { eventually } from './helpers/wait.js'

const DAILY_CAP = scale({ short: 15, long: 40 })

t.setTimeout(1_200_000)
const services = await startServices(t)
const admin = freshPhone()
const env = {
  ...environment(services),
  NODE_ENV: 'development',
  SMS_HOURLY_CAP: '1000',
  SMS_DAILY_CAP: String(DAILY_CAP),
  ADMIN_NUMBERS: admin
}
const [one, two] = await Promise.all([startProcess(t, env), startProcess(t, env)])

const request = (at: ServerProcess, phone: string) => at.json('POST', '/auth/request-otp', { json: { phone } })
const verify = (at: ServerProcess, phone: string, otp: string) =>
  at.json('POST', '/auth/verify-otp', { json: { phone, otp } })
const status = async (at: ServerProcess, token: string) => (await at.json('GET', '/auth/sessions', { token })).status
const smsOf = (at: ServerProcess) => at.output().filter(line => line.startsWith('SMS '))
const accepted = { status: 200, body: { success: true } }
const rejected = { status: 200, body: { success: false } }

async function codeOf (at: ServerProcess, phone: string): Promise<string> {
  await ok(request(at, phone))
  return /: (\d{6})/.exec(await at.line(new RegExp(`^SMS .*\\${phone}"`)))![1]!
}

const wrong = (code: string) => String((Number(code) + 1) % 1_000_000).padStart(6, '0')

t.test(
  'a code asked for at one process works at the other, once, and what is counted at one counts at the other',
  async t => {
    const phone = freshPhone()
    const otp = await codeOf(one, phone)
    const before = smsOf(two).length
    t.equal((await request(two, phone)).status, 200)
    t.equal(smsOf(two).length, before, 'the gap holds there too')
    for (const at of [one, two, one, two]) t.match(await verify(at, phone, wrong(otp)), rejected)
    t.match(await verify(two, phone, otp), accepted)
    t.match(await verify(one, phone, otp), rejected)

    const tried = freshPhone()
    const right = await codeOf(two, tried)
    for (const at of [one, two, one, two, one]) t.match(await verify(at, tried, wrong(right)), rejected)
    t.match(await verify(two, tried, right), rejected, 'five tries for both together')
  }
)

t.test('a logout at one process holds at the other within ten seconds', async t => {
  const token = await signInTo(one, freshPhone())
  t.equal(await status(two, token), 200)
  t.equal((await one.json('POST', '/auth/logout', { token })).status, 204)
  t.equal(await status(one, token), 401, 'at once')
  t.ok(await eventually(async () => await status(two, token) === 401, 'the logout holds at the other process'))
})

t.test('a block made at one process holds at the other', async t => {
  const token = await signInTo(one, admin)
  await ok(one.json('POST', '/users', { token, json: { username: 'root', number: admin } }))
  const phone = freshPhone()
  const blocked = await signInTo(two, phone)
  const { body: { user_id: id } } = await ok(two.json('POST', '/users', {
    token: blocked,
    json: { username: 'mallory', number: phone }
  }))
  t.match(await one.json('PATCH', `/users/${id}`, { token, json: { blocked: true } }), {
    status: 200,
    body: { blocked: true }
  })
  t.equal(await status(one, blocked), 401, 'at once')
  const before = smsOf(two).length
  t.equal((await request(two, phone)).status, 200)
  t.equal(smsOf(two).length, before, 'no SMS')
  t.ok(await eventually(async () => await status(two, blocked) === 401, 'the block holds at the other process'))
})

t.test('the SMS of a day, those of the tests before included, are counted for both processes together', async t => {
  const answers = []
  for (let i = 0; i < DAILY_CAP + 10; i++) answers.push(await request(i % 2 ? one : two, freshPhone()))
  const statuses = new Set(answers.map(({ status }) => status))
  t.strictSame([...statuses].sort(), [200, 429])
  t.equal([one, two].flatMap(smsOf).length, DAILY_CAP)
  t.match(answers.at(-1), { status: 429, body: { error: 'Too many codes requested' } })
})
