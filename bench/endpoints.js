import { readdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { bundle, makeBed } from './harness/bed.js'
import { compareLists } from './harness/library.js'
import { toRequest } from './harness/load.js'
import { measure, untilTime } from './harness/measure.js'
import { interleaved, median, printGoal, printTable, ratio } from './harness/rounds.js'
import { FORM_TYPE, formAround, get } from './harness/send.js'
import { smallPictures } from './harness/small-files.js'
import { usageOf } from './harness/usage.js'

const ROWS = 1000
const PAGE = '/library?per_page=10'
/** Different pages in turn. They are more than 16 connections ask for at once. */
const TURNS = 20
const REQUEST = '/auth/request-otp'
const VERIFY = '/auth/verify-otp'
/** A phone's second SMS is sent this long after its first. */
const GAP_MS = 15_500
const IDLE_MS = 3000
const REQUESTS_BEFORE_MEMORY = 100_000
const ADDRESSES = 1000
const LOADS = [
  { name: '16, one address', connections: 16, isMany: false },
  { name: '16, many addresses', connections: 16, isMany: true },
  { name: '256, many addresses', connections: 256, isMany: true }
]
const UPLOADS = { name: '4, one address', connections: 4, isMany: false }

const READS = [
  { name: 'GET /library, one page', toPath: () => PAGE, gain: 3 },
  { name: `GET /library, ${TURNS} pages in turn`, toPath: (way, i) => `${PAGE}&page=${i % TURNS + 1}`, gain: 2 },
  { name: 'GET /library, not modified', toPath: () => PAGE, expected: 304, gain: 3 },
  { name: 'GET /users/{id}', toPath: ({ other }) => `/users/${other}`, most: 1.4 },
  { name: 'GET /users/me', toPath: () => '/users/me', most: 1.4 }
].map(line => ({ ...line, mostOfFlask: 0.9 }))

/** In each round the lines come in this order, for the same phones. */
const LOGINS = [
  { name: 'POST /auth/request-otp, first of the phone and the hour', path: REQUEST },
  { name: 'POST /auth/verify-otp, wrong code, first guess', path: VERIFY },
  { name: 'POST /auth/verify-otp, wrong code, second to fourth guess', path: VERIFY, times: 3 },
  { name: 'POST /auth/request-otp, again after the gap', path: REQUEST, wait: GAP_MS }
].map(line => ({ ...line, most: 2.5, mostOfFlask: 0.9 }))

/** How many files a round sends, and the goal. */
const FILES = {
  'GIF, 120×80, 12 frames': { count: 40, mostOfFlask: 2 },
  'GIF, 300×200, 40 frames': { count: 20, mostOfFlask: 0.8 },
  JPEG: { count: 150, mostOfFlask: 1 },
  PNG: { count: 150, mostOfFlask: 1 }
}

/**
 * CPU, throughput, latency and memory for each request that people make: the service as an operator starts it, naive
 * code, Express and Flask.
 */
export async function endpoints ({ quick, only }) {
  if (!await readdir('/proc/self').catch(() => undefined)) {
    return console.log('\nNOT TRIED: the CPU time of other processes is read from /proc, which is not here')
  }
  const bed = await makeBed(quick ? TURNS * 10 : ROWS)
  const service = await bed.startService('the service')
  const paid = await bed.startService('the service, paid provider', {
    env: { SMS_PROVIDER: 'http', SMS_HTTP_URL: bed.sms.url, SMS_HTTP_TOKEN: 'x'.repeat(40) }
  })
  const inImage = await bed.startService('the service, as in the image', { program: bundle() })
  const naive = await bed.startContender('naive', 'naive.js')
  const express = await bed.startContender('Express', 'express.js')
  const flask = await bed.startFlask('Flask')
  const ways = [service, naive, express, ...(flask ? [flask] : [])]
  const test = { quick, only, rounds: quick ? 1 : 5, service, naive, flask, ways }
  await rest(bed.ways, quick)
  for (const way of ways) compareLists(await get(service, PAGE), await get(way, PAGE), ` in ${way.name}`)
  await measureReads(test)
  await measureLogins({ ...test, ways: [service, paid, ...ways.slice(1)] })
  await measureProcesses({ ...test, inImage })
  await measureUploads({ ...test, ways: ways.filter(way => way !== naive) })
  await bed.close()
}

async function rest (ways, quick) {
  await sleep(quick ? 500 : IDLE_MS)
  for (const way of ways) Object.assign(way, { idle: (await usageOf(way.pid)).memory, requests: 0 })
}

async function measureReads ({ quick, only, rounds, ways, ...test }) {
  for (const line of READS.filter(({ name }) => name.includes(only))) {
    if (line.expected === 304) for (const way of ways) way.etag = await etagOf(way)
    const tables = []
    for (const load of LOADS) {
      const work = way => {
        const next = untilTime(quick ? 0 : 1000, load.connections, i => readOf(way, line, load, i))
        return measure(way, load, next, line.expected)
      }
      if (!quick) await interleaved(1, ways, work)
      tables.push({ load, ways, runs: await interleaved(rounds, ways, work) })
    }
    report(test, line, tables)
  }
}

const readOf = (way, { toPath, expected }, { isMany }, i) => toRequest('GET', toPath(way, i), {
  token: way.token,
  address: isMany ? addressOf(i % ADDRESSES) : undefined,
  headers: expected === 304 ? { 'if-none-match': way.etag } : {}
})

/** Gives these requests. */
function each (requests) {
  let i = 0
  return () => requests[i++]
}

async function etagOf ({ url, token, name }) {
  const response = await fetch(url + PAGE, { headers: { authorization: `Bearer ${token}` } })
  await response.text()
  return response.headers.get('etag') ?? Promise.reject(new Error(`${name} answers without an ETag`))
}

async function measureLogins ({ quick, only, rounds, ways, ...test }) {
  if (!LOGINS.some(({ name }) => name.includes(only))) return
  const tables = LOGINS.map(() => [])
  for (const load of LOADS) {
    if (!quick) await loginRound(ways, load, 300)
    const all = LOGINS.map(() => ways.map(() => []))
    for (let round = 0; round < rounds; round++) {
      const runs = await loginRound(ways, load, quick ? 16 : 1000)
      runs.forEach((ofWays, line) => ofWays.forEach((run, way) => all[line][way].push(run)))
    }
    all.forEach((runs, line) => tables[line].push({ load, ways, runs }))
  }
  LOGINS.forEach((line, i) => report(test, line, tables[i]))
}

/** Each line of LOGINS by each way in turn, for new phones. Before it, all that is counted is forgotten. */
async function loginRound (ways, load, count) {
  const phones = ways.map(() => Array.from({ length: count }, freshPhone))
  for (const { db } of ways) await db.collection('otps').deleteMany({})
  const began = performance.now()
  let asked = began
  const runs = []
  for (const { path, times = 1, wait = 0 } of LOGINS) {
    await sleep(Math.max(0, asked + wait - performance.now()))
    const ofWays = []
    for (const [i, way] of ways.entries()) {
      const requests = Array.from({ length: times }, () => phones[i]).flat().map(phone => loginOf(path, phone, load))
      ofWays.push(await measure(way, load, each(requests)))
    }
    runs.push(ofWays)
    if (asked === began) asked = performance.now()
  }
  return runs
}

let nextNumber = 0
/** Indian mobile numbers that were not used before. */
const freshPhone = () => nextNumber++

const loginOf = (path, number, { isMany }) => toRequest('POST', path, {
  address: isMany ? addressOf(number) : undefined,
  json: {
    phone: `+9198${String(number).padStart(8, '0')}`,
    ...(path === VERIFY && { otp: '000000' })
  }
})

const addressOf = i => `10.${i >> 16 & 255}.${i >> 8 & 255}.${i & 255}`

/** Start, rest, and memory after many requests of all kinds but uploads. */
async function measureProcesses ({ quick, only, ways, service, inImage }) {
  if (!'the process'.includes(only)) return
  const load = LOADS[1]
  for (const way of [inImage, service]) {
    const last = quick ? load.connections : REQUESTS_BEFORE_MEMORY - way.requests
    const lines = READS.filter(({ expected }) => expected === undefined)
    let i = 0
    const next = () => i < last ? readOf(way, lines[i % lines.length], load, i++) : undefined
    if (last > 0) await measure(way, load, next)
  }
  for (const way of [inImage, ...ways]) way.used = (await usageOf(way.pid)).memory
  printTable(
    'the process',
    ['server', 'CPU from start to ready, s', 'idle, MB', 'requests', 'after them, MB'],
    [inImage, ...ways].map(({ name, started, idle, requests, used }) => [
      name,
      started.cpuSeconds.toFixed(2),
      toMegabytes(idle),
      requests,
      toMegabytes(used)
    ])
  )
  console.log()
  for (const { name, started: { cpuSeconds }, idle, requests, used } of [inImage, service]) {
    printGoal(cpuSeconds <= 1.2, `${name}, start to ready: ${cpuSeconds.toFixed(2)} s of CPU (goal: at most 1.20)`)
    printGoal(idle <= 110e6, `${name}, idle: ${toMegabytes(idle)} MB (goal: at most 110)`)
    printGoal(used <= 160e6, `${name}, after ${requests} requests: ${toMegabytes(used)} MB (goal: at most 160, after 100000)`)
  }
}

const toMegabytes = bytes => (bytes / 1e6).toFixed(0)

async function measureUploads ({ quick, only, rounds, ways, ...test }) {
  for (const { name, type, content } of await smallPictures()) {
    const { count, mostOfFlask } = FILES[name]
    const line = { name: `POST /library/upload, ${name}, ${Math.round(content.length / 1000)} kB`, mostOfFlask }
    if (!line.name.includes(only)) continue
    const { head, tail } = formAround(type)
    const body = Buffer.concat([head, content, tail])
    const work = way => {
      const request = toRequest('POST', '/library/upload', {
        token: way.token,
        headers: { 'content-type': FORM_TYPE },
        body
      })
      return measure(way, UPLOADS, each(new Array(quick ? 4 : count).fill(request)), 201)
    }
    if (!quick) await interleaved(1, ways, work)
    report(test, line, [{ load: UPLOADS, ways, runs: await interleaved(rounds, ways, work) }])
  }
}

/** Prints the table of one request, and the goals that it has. A goal is met if it is met under each load. */
function report ({ service, naive, flask }, { name, gain, most, mostOfFlask }, tables) {
  const figures = tables.flatMap(({ load, ways, runs }) => {
    const cpuOf = way => runs[ways.indexOf(way)]?.map(({ cpu }) => cpu)
    return ways.map((way, i) => ({
      load,
      way,
      of: member => median(runs[i].map(run => run[member])),
      to: other => cpuOf(other) && ratio(cpuOf(way), cpuOf(other))
    }))
  })
  printTable(
    `${name} (rounds: ${tables[0].runs[0].length})`,
    ['connections', 'server', 'requests/s', 'CPU ms', '× naive', '× Flask', 'p50 ms', 'p99 ms', 'memory MB'],
    figures.map(({ load, way, of, to }) => [
      load.name,
      way.name,
      of('speed').toFixed(0),
      (of('cpu') * 1000).toFixed(2),
      to(naive)?.toFixed(2) ?? '',
      to(flask)?.toFixed(2) ?? '',
      of('p50').toFixed(1),
      of('p99').toFixed(1),
      toMegabytes(of('memory'))
    ])
  )
  console.log()
  const ours = figures.filter(({ way }) => way.name.startsWith(service.name))
  const judge = (ratios, isMet, sentence) =>
    printGoal(ratios.every(isMet), `${name}: ${ratios.map(value => value.toFixed(2)).join(', ')} ${sentence}`)
  if (gain) {
    judge(ours.map(({ to }) => 1 / to(naive)), value => value >= gain, `times the CPU efficiency of naive (goal: at least ${gain})`)
  }
  if (most) judge(ours.map(({ to }) => to(naive)), value => value <= most, `× the CPU of naive (goal: at most ${most})`)
  if (flask) {
    judge(ours.map(({ to }) => to(flask)), value => value <= mostOfFlask, `× the CPU of Flask (goal: at most ${mostOfFlask})`)
  }
}
