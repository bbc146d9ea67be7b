import { setTimeout as sleep } from 'node:timers/promises'
import { hasBalancer, startBalancer } from './harness/balancer.js'
import { makeBed } from './harness/bed.js'
import { openConnections, percentile, toRequest } from './harness/load.js'
import { proxyMongo } from './harness/mongo-proxy.js'
import { median, printTable } from './harness/rounds.js'
import { FORM_TYPE, formAround } from './harness/send.js'
import { smallPictures } from './harness/small-files.js'
import { usageOf } from './harness/usage.js'

const ROWS = 1000
const COUNTS = [1, 2, 4]
const CONNECTIONS = 32
const ROUND_MS = 5000
/** The mix, for each hundred requests. */
const MIX = { list: 70, user: 15, requestOtp: 5, verifyOtp: 5, upload: 5 }
/** A third of the lists ask for these pages in turn, the others for the first. */
const PAGES = 20
const SETTLE_MS = 500

/** A mixed load on 1, 2 and 4 processes with one database and one store, behind haproxy if it is installed. */
export async function instances ({ quick }) {
  const rows = []
  for (const count of COUNTS) rows.push(await measureCount(count, quick))
  printTable(
    `${MIX.list} % lists, ${MIX.user} % users, ${MIX.requestOtp + MIX.verifyOtp} % login, ${MIX.upload} % uploads; ${CONNECTIONS} connections`,
    [
      'processes', 'requests/s', 'CPU of all, ms a request', 'database commands a request', 'commands/s',
      'p50 ms', 'p99 ms', 'memory of one, MB'
    ],
    rows
  )
  console.log('\nAll processes share one core, and the load, the balancer and the stores the other. So the figures show what a')
  console.log('request costs as processes are added, not how much faster they are together.')
}

async function measureCount (count, quick) {
  let commands = 0
  let proxy
  const bed = await makeBed(ROWS)
  const services = await bed.startInstances(count, {
    toUri: async uri => {
      proxy ??= await proxyMongo(uri, () => { commands++ })
      return proxy.uri
    }
  })
  const balancer = await balance(services)
  const next = await mixedLoad(services[0])
  await run(balancer.urls, next, quick ? 300 : ROUND_MS)
  const rounds = []
  for (let round = 0; round < (quick ? 1 : 5); round++) {
    const before = commands
    const cpuBefore = await cpuOf(services)
    const { seconds, latencies } = await run(balancer.urls, next, quick ? 300 : ROUND_MS)
    await sleep(SETTLE_MS)
    const cpu = await cpuOf(services) - cpuBefore
    rounds.push({ seconds, latencies, cpu, commands: commands - before })
  }
  const { memory } = await usageOf(services[0].pid)
  await balancer.stop()
  await bed.close()
  await proxy.close()
  const of = figure => median(rounds.map(figure))
  return [
    count,
    of(({ seconds, latencies }) => latencies.length / seconds).toFixed(0),
    of(({ cpu, latencies }) => cpu / latencies.length * 1000).toFixed(2),
    of(({ commands, latencies }) => commands / latencies.length).toFixed(2),
    of(({ commands, seconds }) => commands / seconds).toFixed(0),
    of(({ latencies }) => percentile(latencies, 0.5)).toFixed(1),
    of(({ latencies }) => percentile(latencies, 0.99)).toFixed(1),
    (memory / 1e6).toFixed(0)
  ]
}

const cpuOf = async services => {
  const usages = await Promise.all(services.map(({ pid }) => usageOf(pid)))
  return usages.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0)
}

/** Sends requests for this many milliseconds, over connections that are spread over the addresses. */
async function run (urls, next, milliseconds) {
  const end = performance.now() + milliseconds
  const opened = await Promise.all(urls.map(url => openConnections(url, CONNECTIONS / urls.length)))
  const runs = await Promise.all(opened.map(open =>
    open.run(() => performance.now() < end ? next() : undefined, [200, 201])))
  for (const open of opened) open.close()
  return {
    seconds: Math.max(...runs.map(({ seconds }) => seconds)),
    latencies: runs.flatMap(({ latencies }) => latencies)
  }
}

/** Gives the requests of the mix in turn. */
async function mixedLoad ({ token, other }) {
  const { type, content } = (await smallPictures()).find(({ name }) => name === 'JPEG')
  const { head, tail } = formAround(type)
  const upload = toRequest('POST', '/library/upload', {
    token,
    headers: { 'content-type': FORM_TYPE },
    body: Buffer.concat([head, content, tail])
  })
  let number = 0
  const phoneOf = i => `+9198${String(i).padStart(8, '0')}`
  const kinds = {
    list: i => toRequest('GET', `/library?per_page=10&page=${i % 3 ? 1 : i % PAGES + 1}`, { token }),
    user: () => toRequest('GET', `/users/${other}`, { token }),
    requestOtp: () => toRequest('POST', '/auth/request-otp', { json: { phone: phoneOf(number++) } }),
    verifyOtp: () => toRequest('POST', '/auth/verify-otp', {
      json: { phone: phoneOf(Math.max(0, number - 20)), otp: '000000' }
    }),
    upload: () => upload
  }
  // spread evenly: the kind that is furthest behind its share is next
  const given = Object.fromEntries(Object.keys(MIX).map(kind => [kind, 0]))
  let i = 0
  return () => {
    i++
    const share = kind => given[kind] / MIX[kind]
    const kind = Object.keys(MIX).reduce((best, kind) => share(kind) < share(best) ? kind : best)
    given[kind]++
    return kinds[kind](i)
  }
}

/** haproxy before the services; without it, the connections are divided among the services. */
async function balance (services) {
  if (!hasBalancer()) {
    console.log('\nhaproxy is not installed: the connections are spread over the processes without it')
    return { urls: services.map(({ url }) => url), async stop () {} }
  }
  const { url, stop } = await startBalancer(services.map(({ url }) => new URL(url).host), ['option forwardfor'])
  return { urls: [url], stop }
}
