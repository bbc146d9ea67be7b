import { randomUUID } from 'node:crypto'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
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
/** Requests after which a page is read again: fewer than TURNS. */
const BETWEEN_VERSIONS = 16
const DATABASE = 'hookaba-bench'

/** CPU and throughput of `GET /library` as the library grows, in the service and in naive code for the same page. */
export async function list ({ quick, only }) {
  const sink = await start('s3-sink.js')
  const mongo = process.env.MONGO_URI ? undefined : await start('mongo.js')
  const uri = new URL(process.env.MONGO_URI ?? mongo.uri)
  uri.pathname = `/${DATABASE}`
  const env = environment({ mongoUri: uri.href, endpoint: sink.endpoint })
  const client = await new MongoClient(uri.href).connect()
  await client.db().dropDatabase()
  await (await start('service.js', { env })).stop() // builds the indexes
  const pages = []
  const sizes = (quick ? [10, 1000] : [10, 1000, 100_000, 1_000_000]).filter(rows => only === '' || rows === Number(only))
  for (const rows of sizes) {
    await fill(client.db(), rows)
    pages.push({ rows, cpu: await compare(client.db(), env, rows, quick) })
  }
  const flat = pages.map(({ cpu }) => median(cpu)).map((cpu, i, all) => cpu / all[0])
  console.log()
  printGoal(
    Math.max(...flat) <= 1.1,
    `a page that is not kept, at ${pages.map(({ rows }) => rows).join(', ')} rows, costs ${flat.map(value => value.toFixed(2)).join(', ')} (goal: at most 1.10)`
  )
  await client.db().dropDatabase()
  await client.close()
  await Promise.all([sink.stop(), mongo?.stop()])
}

/** Resolves with the CPU seconds of the service for each page that it reads, one figure for each round. */
async function compare (db, env, rows, quick) {
  const service = await start('service.js', { measured: true, env })
  const naive = {
    ...await start('naive.js', { measured: true, env }),
    token: signToken(env.JWT_SECRET_KEY, '000000000000000000000000')
  }
  await itemsAreCounted(db)
  const newVersion = () => db.collection('library_state').updateOne({}, { $set: { version: randomUUID() } })
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
    pages: { name: `the service, ${TURNS} pages in turn`, server: service, paths: pages },
    read: { name: `the service, ${TURNS} pages in turn, none kept`, server: service, paths: pages, newVersion },
    naivePages: { name: `naive, ${TURNS} pages in turn`, server: naive, paths: pages },
    naiveDeep: { name: 'naive, a page in the middle', server: naive, paths: [deep] },
    ...(isLarge && {
      cursors: {
        name: `the service, ${TURNS} pages in the middle by cursor, none kept`,
        server: service,
        paths: cursors,
        newVersion
      }
    })
  }
  for (const path of isLarge ? [first, pages[0]] : [first]) {
    compareLists(await get(service, path), await get(naive, path))
  }
  for (const way of Object.values(ways)) await load(way, 200)
  const runs = await interleaved(quick ? 2 : 7, Object.values(ways), way => load(way, quick ? 200 : 1500))
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
  const judgeGain = (what, naive, ours, goal) => printGoal(
    ratio(naive, ours) >= goal,
    `${what} for ${ratio(naive, ours).toFixed(2)} times the naive one's CPU efficiency (goal: at least ${goal})`
  )
  judgeGain('the first page', cpu.naiveFirst, cpu.first, 3)
  judgeGain(`${TURNS} pages in turn`, cpu.naivePages, cpu.pages, 2)
  judgeGain(`${TURNS} pages in turn, none kept`, cpu.naivePages, cpu.read, 1)
  if (isLarge) {
    printGoal(
      ratio(cpu.cursors, cpu.read) <= 1.1,
      `a page in the middle by cursor for ${ratio(cpu.cursors, cpu.read).toFixed(2)} × what one of the first cost (goal: at most 1.1)`
    )
    await compareSearches(service, first, rows, newVersion, quick)
  }
  await Promise.all([service.stop(), naive.stop()])
  return cpu.read
}

/** The time of one search at a time, against that of a first page that is not kept. */
async function compareSearches (service, first, rows, newVersion, quick) {
  const searches = ['fox', 'dancing fox', 'even odd', 'dancing fox even', 'dancing fox even odd', 'fox 77', 'fox nothing']
  const ways = [first, ...searches.map(words => `${first}&q=${words.replaceAll(' ', '+')}`)]
  const runs = await interleaved(quick ? 2 : 7, ways, async path => {
    await newVersion()
    const began = performance.now()
    await get(service, path)
    return performance.now() - began
  })
  printTable(
    `Searches in ${rows} rows (${runs[0].length} rounds)`,
    ['search', 'ms', '× first page'],
    ['', ...searches].map((words, i) => [words, median(runs[i]).toFixed(1), ratio(runs[i], runs[0]).toFixed(1)])
  )
  const most = Math.max(...runs.map(times => ratio(times, runs[0])))
  console.log()
  printGoal(most <= 20, `the dearest search for ${most.toFixed(1)} × what a first page cost (goal: at most 20)`)
}

/** Waits until a sweep has counted the rows. The lease of a service that was killed lasts a minute. */
async function itemsAreCounted (db) {
  while (!(await db.collection('library_state').findOne())?.counted) await sleep(500)
}

/** The `next_cursor` of a page that ends with this row: services/library/cursor.ts. */
const cursorAfter = ({ created_at: at, _id: id }) => Buffer.from(BSON.serialize({ at, id })).toString('base64url')

/** Sends requests by CONCURRENCY connections for this many milliseconds. */
async function load ({ server, paths, newVersion }, milliseconds) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONCURRENCY })
  const before = await server.usage()
  const began = performance.now()
  let requests = 0
  await Promise.all(Array.from({ length: CONCURRENCY }, async () => {
    do {
      if (newVersion && requests % BETWEEN_VERSIONS === 0) newVersion()
      await get(server, paths[requests++ % paths.length], agent)
    } while (performance.now() - began < milliseconds)
  }))
  const seconds = (performance.now() - began) / 1000
  const after = await server.usage()
  agent.destroy()
  return { cpu: (after.cpuSeconds - before.cpuSeconds) / requests, speed: requests / seconds }
}
