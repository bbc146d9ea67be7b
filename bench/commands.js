import { setTimeout as sleep } from 'node:timers/promises'
import { createUser, makeBed, signIn, userOf } from './harness/bed.js'
import { TEST_CODE } from './harness/environment.js'
import { proxyMongo } from './harness/mongo-proxy.js'
import { printGoal, printTable } from './harness/rounds.js'
import { FORM_TYPE, formAround } from './harness/send.js'
import { smallPictures } from './harness/small-files.js'

const ROWS = 1000
/** A process knows a session for 9 s after it read it. */
const FORGOTTEN_MS = 10_000
/** The writes that no answer waits for come at most 250 ms later. */
const SETTLE_MS = 1000
const PHONES = ['+919812345678', '+919812345679']
const NEWCOMER = 'POST /users'

/**
 * Each is done twice by a user of its own, or by that of the operation `by`: cold, in an hour in which nothing was
 * counted, and when the user's session was not read lately; then again. `before` is not counted. `most` is the goal for
 * the commands.
 */
const OPERATIONS = [
  { name: 'POST /auth/request-otp', most: 4, work: ({ requestCode, round }) => requestCode(PHONES[round]) },
  { name: 'POST /auth/request-otp, in the gap', most: 4, work: ({ requestCode, round }) => requestCode(PHONES[round]) },
  { name: 'POST /auth/verify-otp, wrong code', most: 3, work: ({ verify }) => verify(PHONES[0], '000000', false) },
  {
    name: 'POST /auth/verify-otp, right code of a newcomer',
    most: 5,
    work: ({ verify, codes, round }) => verify(PHONES[round], codes[PHONES[round]], true)
  },
  {
    name: 'POST /auth/verify-otp, right code of a user',
    most: 5,
    before: ({ ask, user }) => ask('POST', '/auth/request-otp', { json: { phone: userOf(user).number } }),
    work: ({ verify, user }) => verify(userOf(user).number, TEST_CODE, true)
  },
  { name: NEWCOMER, most: 4, work: ({ ask, user }) => ask('POST', '/users', { json: userOf(user) }) },
  { name: 'GET /users/{id}', work: ({ ask, service }) => ask('GET', `/users/${service.other}`) },
  { name: 'GET /users/me', work: ({ ask }) => ask('GET', '/users/me') },
  {
    name: 'PATCH /users/me',
    work: ({ ask, round }) => ask('PATCH', '/users/me', { json: { username: `another name ${round}` } })
  },
  { name: 'GET /library', most: 3, work: async ({ ask, kept }) => { kept.etag = (await ask('GET', '/library')).etag } },
  {
    name: 'GET /library, not modified',
    most: 3,
    work: ({ ask, kept }) => ask('GET', '/library', { headers: { 'if-none-match': kept.etag }, expected: 304 })
  },
  {
    name: 'POST /library/upload, JPEG',
    work: async ({ ask, form, kept }) => kept.items.push((await ask('POST', '/library/upload', form)).id)
  },
  {
    name: 'DELETE /library/{id}',
    by: 'POST /library/upload, JPEG',
    work: ({ ask, kept }) => ask('DELETE', `/library/${kept.items.pop()}`)
  },
  { name: 'POST /auth/logout', isLast: true, work: ({ ask }) => ask('POST', '/auth/logout') }
]

/** The database commands and store requests of each operation. A paid SMS provider sends the codes. */
export async function commands ({ only }) {
  const seen = []
  let proxy
  const bed = await makeBed(ROWS)
  const service = await bed.startService('the service', {
    toUri: async uri => {
      proxy = await proxyMongo(uri, command => seen.push(command))
      return proxy.uri
    },
    env: {
      SMS_PROVIDER: 'http',
      SMS_HTTP_URL: bed.sms.url,
      SMS_HTTP_TOKEN: 'x'.repeat(40),
      SWEEP_INTERVAL_SECONDS: '86400'
    }
  })
  const tokens = await signInUsers(service)
  const context = { service, kept: { items: [] }, form: await makeForm(), ...codeRequests(service, bed) }
  await service.db.collection('otps').deleteMany({})
  await sleep(FORGOTTEN_MS)
  const rows = []
  for (const operation of OPERATIONS) {
    const { name, by = name } = operation
    const ask = asker(service, tokens.get(by))
    const counts = []
    for (const round of operation.isLast ? [0] : [0, 1]) {
      const occasion = { ...context, ask, round, user: userIndex(name) }
      await operation.before?.(occasion)
      await sleep(SETTLE_MS)
      seen.length = 0
      const { requests } = await bed.sink.usage()
      await operation.work(occasion)
      await sleep(SETTLE_MS)
      counts.push({ commands: [...seen], requests: (await bed.sink.usage()).requests - requests })
    }
    rows.push({ ...operation, counts })
  }
  report(rows.filter(({ name }) => name.includes(only)))
  await bed.close()
  await proxy.close()
}

/** Signs in a user for each operation. Resolves with a token for each name of an operation. */
async function signInUsers (service) {
  const tokens = new Map()
  for (const { name } of OPERATIONS) {
    const token = await signIn(service, userIndex(name))
    if (name !== NEWCOMER) await createUser(service, token, userIndex(name))
    tokens.set(name, token)
  }
  return tokens
}

/** The first two test numbers are signed in already. */
const userIndex = name => 2 + OPERATIONS.findIndex(operation => operation.name === name)

function codeRequests (service, { sms }) {
  const ask = asker(service)
  const codes = {}
  return {
    codes,
    async requestCode (phone) {
      await ask('POST', '/auth/request-otp', { json: { phone } })
      const { to, body } = JSON.parse((await sms.usage()).last)
      codes[to] = /\d{6}/.exec(body)[0]
    },
    async verify (phone, otp, isRight) {
      const { success } = await ask('POST', '/auth/verify-otp', { json: { phone, otp } })
      if (success !== isRight) throw new Error(`the code was ${success ? 'accepted' : 'refused'}`)
    }
  }
}

async function makeForm () {
  const { type, content } = (await smallPictures()).find(({ name }) => name === 'JPEG')
  const { head, tail } = formAround(type)
  return { headers: { 'content-type': FORM_TYPE }, body: Buffer.concat([head, content, tail]) }
}

/** Sends requests. Resolves with the members of the answer, and its ETag; rejects for an error, or not `expected`. */
const asker = ({ url }, token) => async (method, path, { json, body, headers, expected } = {}) => {
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(json && { 'content-type': 'application/json' }),
      ...headers
    },
    body: json ? JSON.stringify(json) : body
  })
  const text = await response.text()
  if (response.status !== (expected ?? response.status) || response.status >= 400) {
    throw new Error(`${method} ${path}: ${response.status} ${text}`)
  }
  return { ...(text !== '' && JSON.parse(text)), etag: response.headers.get('etag') }
}

function report (rows) {
  printTable(
    'database commands, and store requests',
    ['operation', 'cold', 'warm', 'store, cold', 'store, warm'],
    rows.map(({ name, counts: [cold, warm] }) =>
      [name, describe(cold), describe(warm), cold.requests, warm?.requests ?? ''])
  )
  console.log()
  for (const { name, most, counts } of rows.filter(({ most }) => most !== undefined)) {
    const numbers = counts.map(({ commands }) => commands.length)
    printGoal(Math.max(...numbers) <= most, `${name}: ${numbers.join(' cold, ')} warm (goal: at most ${most})`)
  }
}

/** Such as `3: find users, 2 × update otps`. */
function describe (count) {
  if (count === undefined) return ''
  const times = new Map()
  for (const command of count.commands) times.set(command, (times.get(command) ?? 0) + 1)
  const list = [...times].map(([command, n]) => n === 1 ? command : `${n} × ${command}`)
  return `${count.commands.length}${list.length > 0 ? `: ${list.join(', ')}` : ''}`
}
