import http from 'node:http'
import { BSON, MongoClient } from 'mongodb'
import { environment } from './harness/environment.js'
import { compareLists, fill, item } from './harness/library.js'
import { start } from './harness/processes.js'
import { interleaved, median, printGoal, printTable, ratio } from './harness/rounds.js'
import { get } from './harness/send.js'
import { signToken } from './harness/token.js'

const PER_PAGE = 10
const CONCURRENCY = 8
/** Different requests in turn. They are more than run at once, so that none equals another that is in progress. */
const TURNS = 20
const DATABASE = 'hookaba-bench'

/** CPU and throughput of `GET /library` as the library grows, in the service and in naive code for the same page. */
export async function list ({ quick }) {
  const sink = await start('s3-sink.js')
  const mongo = process.env.MONGO_URI ? undefined : await start('mongo.js')
  const uri = new URL(process.env.MONGO_URI ?? mongo.uri)
  uri.pathname = `/${DATABASE}`
  const env = environment({ mongoUri: uri.href, endpoint: sink.endpoint })
  const client = await new MongoClient(uri.href).connect()
  await client.db().dropDatabase()
  await (await start('service.js', { env })).stop() // builds the indexes
  const firstPages = []
  for (const rows of quick ? [10, 1000] : [10, 1000, 100_000, 1_000_000]) {
    await fill(client.db(), rows)
    firstPages.push({ rows, cpu: await compare(env, rows, quick) })
  }
  const flat = firstPages.map(({ cpu }) => median(cpu)).map((cpu, i, all) => cpu / all[0])
  console.log()
  printGoal(
    Math.max(...flat) <= 1.3,
    `the first page at ${firstPages.map(({ rows }) => rows).join(', ')} rows costs ${flat.map(value => value.toFixed(2)).join(', ')} (goal: at most 1.30)`
  )
  await client.db().dropDatabase()
  await client.close()
  await Promise.all([sink.stop(), mongo?.stop()])
}

/** Resolves with the CPU seconds of the service for each first page, one figure for each round. */
async function compare (env, rows, quick) {
  const service = await start('service.js', { measured: true, env })
  const naive = {
    ...await start('naive.js', { measured: true, env }),
    token: signToken(env.JWT_SECRET_KEY, '000000000000000000000000')
  }
  const middle = Math.floor(rows / 2)
  const first = `/library?per_page=${PER_PAGE}`
  const pages = Array.from({ length: TURNS }, (_, i) => `${first}&page=${i + 1}`)
  const cursors = Array.from({ length: TURNS }, (_, i) =>
    `${first}&cursor=${cursorAfter(item(Math.max(0, middle - i * PER_PAGE)))}`)
  const deep = `${first}&page=${Math.ceil(middle / PER_PAGE) + 1}`
  const isLarge = middle > TURNS * PER_PAGE
  const ways = {
    first: { name: 'the service, first page', server: service, paths: [first] },
    naiveFirst: { name: 'naive, first page', server: naive, paths: [first] },
    cursor: { name: 'the service, a page in the middle by cursor', server: service, paths: cursors.slice(0, 1) },
    naiveDeep: { name: 'naive, a page in the middle', server: naive, paths: [deep] },
    ...(isLarge && {
      pages: { name: `the service, ${TURNS} pages in turn`, server: service, paths: pages },
      naivePages: { name: `naive, ${TURNS} pages in turn`, server: naive, paths: pages },
      cursors: { name: `the service, ${TURNS} pages in the middle in turn, by cursor`, server: service, paths: cursors }
    })
  }
  for (const path of isLarge ? [first, pages[0]] : [first]) {
    compareLists(await get(service, path), await get(naive, path))
  }
  for (const way of Object.values(ways)) await load(way, 200)
  const runs = await interleaved(quick ? 2 : 7, Object.values(ways), way => load(way, quick ? 200 : 1500))
  await Promise.all([service.stop(), naive.stop()])
  const cpu = Object.fromEntries(Object.keys(ways).map((way, i) => [way, runs[i].map(({ cpu }) => cpu)]))
  const speed = Object.fromEntries(Object.keys(ways).map((way, i) => [way, runs[i].map(({ speed }) => speed)]))
  printTable(
    `${rows} rows (${runs[0].length} rounds)`,
    ['way', 'CPU ms', '× the first', 'requests/s', '× the first'],
    Object.entries(ways).map(([way, { name }]) => [
      name,
      (median(cpu[way]) * 1000).toFixed(2),
      ratio(cpu[way], cpu.first).toFixed(2),
      median(speed[way]).toFixed(0),
      ratio(speed[way], speed.first).toFixed(2)
    ])
  )
  console.log()
  const judgeGain = (what, naive, ours) => printGoal(
    ratio(naive, ours) >= 1.5,
    `${what} for ${ratio(naive, ours).toFixed(2)} times the naive one's CPU efficiency (goal: at least 1.50)`
  )
  const judgeDepth = (what, deep, shallow) => printGoal(
    ratio(deep, shallow) <= 1.3,
    `${what} by cursor for ${ratio(deep, shallow).toFixed(2)} × what the first cost (goal: at most 1.30)`
  )
  judgeGain('the first page', cpu.naiveFirst, cpu.first)
  judgeDepth('a page in the middle', cpu.cursor, cpu.first)
  if (isLarge) {
    judgeGain(`${TURNS} pages in turn`, cpu.naivePages, cpu.pages)
    judgeDepth(`${TURNS} pages in the middle in turn`, cpu.cursors, cpu.pages)
  }
  return cpu.first
}

/** The `next_cursor` of a page that ends with this row: services/library/cursor.ts. */
const cursorAfter = ({ created_at: at, _id: id }) => Buffer.from(BSON.serialize({ at, id })).toString('base64url')

/** Sends requests by CONCURRENCY connections for this many milliseconds. */
async function load ({ server, paths }, milliseconds) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONCURRENCY })
  const before = await server.usage()
  const began = performance.now()
  let requests = 0
  await Promise.all(Array.from({ length: CONCURRENCY }, async () => {
    do {
      await get(server, paths[requests++ % paths.length], agent)
    } while (performance.now() - began < milliseconds)
  }))
  const seconds = (performance.now() - began) / 1000
  const after = await server.usage()
  agent.destroy()
  return { cpu: (after.cpuSeconds - before.cpuSeconds) / requests, speed: requests / seconds }
}
