import t from 'tap'
import { environment, startServices } from './helpers/backends.js'
import { eventually } from './helpers/wait.js'
import { freshPhone } from './helpers/accounts.js'
import { startProcess, type ServerProcess } from './helpers/server-process.js'

t.setTimeout(1_200_000)
const services = await startServices(t)
const admin = freshPhone()
const env = {
  ...environment(services),
  NODE_ENV: 'development',
  SMS_HOURLY_CAP: '1000',
  SMS_DAILY_CAP: '40',
  ADMIN_NUMBERS: admin
}
const [one, two] = [await startProcess(t, env), await startProcess(t, env)]

const request = (at: ServerProcess, phone: string) => at.json('POST', '/auth/request-otp', { json: { phone } })
const verify = (at: ServerProcess, phone: string, otp: string) => at.json('POST', '/auth/verify-otp', {
  json: { phone, otp }
})
const status = async (at: ServerProcess, token: string) => (await at.json('GET', '/auth/sessions', { token })).status

async function codeOf (at: ServerProcess, phone: string): Promise<string> {
  await request(at, phone)
  return /: (\d{6})/.exec(await at.line(new RegExp(`^SMS .*\\${phone}"`)))![1]!
}

async function signIn (at: ServerProcess, phone = freshPhone()): Promise<string> {
  return (await verify(at, phone, await codeOf(at, phone))).body.access_token
}

t.test(
  'a code asked for at one process works at the other, once, and what is counted at one counts at the other',
  async t => {
    const phone = freshPhone()
    const otp = await codeOf(one, phone)
    await request(two, phone)
    t.notOk(two.output().some(line => line.startsWith('SMS ')), 'the gap holds there too')
    const wrong = String((Number(otp) + 1) % 1_000_000).padStart(6, '0')
    for (const at of [one, two, one, two]) t.match(await verify(at, phone, wrong), { body: { success: false } })
    t.match(await verify(two, phone, otp), { body: { success: true } })
    t.match(await verify(one, phone, otp), { body: { success: false } })

    const tried = freshPhone()
    const right = await codeOf(two, tried)
    for (const at of [one, two, one, two, one]) {
      await verify(at, tried, String((Number(right) + 1) % 1_000_000).padStart(6, '0'))
    }
    t.match(await verify(two, tried, right), { body: { success: false } }, 'five tries for both together')
  }
)

t.test('a logout at one process holds at the other within ten seconds', async t => {
  const token = await signIn(one)
  t.equal(await status(two, token), 200)
  t.equal((await one.json('POST', '/auth/logout', { token })).status, 204)
  t.equal(await status(one, token), 401, 'at once')
  t.ok(await eventually(async () => await status(two, token) === 401))
})

t.test('a block made at one process holds at the other', async t => {
  const token = await signIn(one, admin)
  t.equal((await one.json('POST', '/users', { token, json: { username: 'root', number: admin } })).status, 201)
  const phone = freshPhone()
  const blocked = await signIn(two, phone)
  const {
    body: { user_id: id }
  } = await two.json('POST', '/users', { token: blocked, json: { username: 'mallory', number: phone } })
  t.match(await one.json('PATCH', `/users/${id}`, { token, json: { blocked: true } }), {
    status: 200,
    body: { blocked: true }
  })
  t.equal(await status(one, blocked), 401, 'at once')
  const texts = two.output().filter(line => line.startsWith('SMS ')).length
  t.equal((await request(two, phone)).status, 200)
  t.equal(two.output().filter(line => line.startsWith('SMS ')).length, texts, 'no text')
  t.ok(await eventually(async () => await status(two, blocked) === 401))
})

t.test('the SMS of a day are counted for both together', async t => {
  const answers = []
  for (let i = 0; i < 50; i++) answers.push(await request(i % 2 ? one : two, freshPhone()))
  const sent = [one, two].flatMap(at => at.output().filter(line => line.startsWith('SMS '))).length
  t.equal(sent, 40)
  t.match(answers.at(-1), { status: 429, body: { error: 'Too many codes requested' } })
})
