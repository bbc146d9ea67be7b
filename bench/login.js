import http from 'node:http'
import { MongoClient } from 'mongodb'
import { environment } from './harness/environment.js'
import { start } from './harness/processes.js'
import { interleaved, median, printGoal, printTable, ratio } from './harness/rounds.js'
import { post } from './harness/send.js'

const CONCURRENCY = 16
const DATABASE = 'hookaba-bench'
const REQUEST = '/auth/request-otp'
const VERIFY = '/auth/verify-otp'
/** Wrong guesses for each code; the fifth would end it. */
const GUESSES = 4
/** The limits are so high that everything is counted and nothing is refused. */
const UNBOUNDED = {
  TRUST_PROXY: 'loopback',
  LIMIT_SMS_PER_ADDRESS: '1000000',
  LIMIT_FAILURES_PER_ADDRESS: '1000000',
  SMS_HOURLY_CAP: '10000000',
  SMS_DAILY_CAP: '10000000',
  FRAUD_MIN_VERIFIED: '0'
}

/**
 * CPU of the two requests of a login in the service. It is compared, in naive code, with the commands that the service
 * sends and with one upsert and one read; from one client address and from many.
 */
export async function login ({ quick }) {
  const [sink, sms, mongo] = [
    await start('s3-sink.js'),
    await start('sms-sink.js'),
    process.env.MONGO_URI ? undefined : await start('mongo.js')
  ]
  const uri = new URL(process.env.MONGO_URI ?? mongo.uri)
  uri.pathname = `/${DATABASE}`
  const env = { ...environment({ mongoUri: uri.href, endpoint: sink.endpoint }), ...UNBOUNDED }
  const client = await new MongoClient(uri.href).connect()
  await client.db().dropDatabase()
  const free = await start('service.js', { measured: true, env })
  const paid = await start('service.js', {
    measured: true,
    env: { ...env, SMS_PROVIDER: 'http', SMS_HTTP_URL: sms.url, SMS_HTTP_TOKEN: 'x'.repeat(40) }
  })
  const naive = await start('naive-login.js', { measured: true, env })
  const bare = await start('login-commands.js', { measured: true, env })
  for (const many of [false, true]) await compare({ free, paid, bare, naive }, many, quick)
  await client.db().dropDatabase()
  await client.close()
  await Promise.all([free, paid, bare, naive, sink, sms, mongo].map(server => server?.stop()))
}

async function compare ({ free, paid, bare, naive }, many, quick) {
  const services = [
    { name: 'the service, console provider', server: free },
    { name: 'the service, paid provider', server: paid }
  ]
  const ways = [...services, { name: 'its commands alone', server: bare }, { name: 'naive', server: naive }]
  const work = (way, round) => load(way.server, quick ? 100 : 1000, many)
  await interleaved(1, ways, work)
  const runs = await interleaved(quick ? 2 : 5, ways, work)
  const [from, figures] = [
    many ? 'many addresses' : 'one address',
    runs.map(rounds => ({ request: rounds.map(({ request }) => request), verify: rounds.map(({ verify }) => verify) }))
  ]
  const floor = figures.at(-1)
  printTable(
    `from ${from} (${runs[0].length} rounds)`,
    ['way', 'request-otp, CPU ms', '× naive', 'verify-otp, wrong code, CPU ms', '× naive'],
    ways.map(({ name }, i) => [
      name,
      ...['request', 'verify'].flatMap(what =>
        [(median(figures[i][what]) * 1000).toFixed(2), ratio(figures[i][what], floor[what]).toFixed(2)])
    ])
  )
  console.log()
  for (const [i, { name }] of services.entries()) {
    for (const what of ['request', 'verify']) {
      const times = ratio(figures[i][what], floor[what])
      printGoal(times <= 2.5, `${what}-otp from ${from}, ${name}: ${times.toFixed(2)} × naive (goal: at most 2.50)`)
    }
  }
}

let nextNumber = 0
/** Indian mobile numbers that were not used before. */
const freshPhone = () => `+9198${String(nextNumber++).padStart(8, '0')}`

/** This many phones ask for a code, and then send wrong ones. Resolves with the CPU seconds for each request. */
async function load (server, phones, many) {
  const numbers = Array.from({ length: phones }, freshPhone)
  const guesses = Array.from({ length: GUESSES }, () => numbers).flat()
  return {
    request: await spent(server, numbers, phone => [REQUEST, { phone }], many),
    verify: await spent(server, guesses, phone => [VERIFY, { phone, otp: '000000' }], many)
  }
}

async function spent (server, phones, toRequest, many) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONCURRENCY })
  const queue = phones.entries()
  const before = await server.usage()
  await Promise.all(Array.from({ length: CONCURRENCY }, async () => {
    for (const [i, phone] of queue) {
      await post(
        server,
        ...toRequest(phone),
        agent,
        many ? { 'x-forwarded-for': `10.${i >> 16 & 255}.${i >> 8 & 255}.${i & 255}` } : {}
      )
    }
  }))
  const after = await server.usage()
  agent.destroy()
  return (after.cpuSeconds - before.cpuSeconds) / phones.length
}
