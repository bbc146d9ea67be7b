import { once, setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { bundle, makeBed } from './harness/bed.js'
import { openClient, percentile, toRequest } from './harness/load.js'
import { printGoal, printTable } from './harness/rounds.js'
import { usageOf } from './harness/usage.js'

const ROWS = 1000
const MAX_REQUESTS = 200
const USUAL_CLIENTS = 64
const TOO_MANY_CLIENTS = 2000
const PROBE_MS = 100
const SECOND = 1000
const MAX_RECOVERY_SECONDS = 5
/** Of the usual throughput. */
const KEPT_SHARE = 0.8

/** 2,000 clients on a process that takes 200 requests at a time: what is served, and how soon all is well after it. */
export async function overload ({ quick }) {
  const rows = []
  for (const isPolite of [true, false]) rows.push(await measure(isPolite, quick))
  printTable(`${TOO_MANY_CLIENTS} clients, MAX_REQUESTS=${MAX_REQUESTS}`, [
    'a refused client', 'usual answers/s', 'p99 ms', 'answers/s under overload', 'p99 ms', 'refused/s', 'p99 of /health/live, ms',
    'memory before, MB', 'most memory, MB'
  ], rows.map(({ row }) => row))
  for (const { goals, name } of rows) for (const [met, sentence] of goals) printGoal(met, `${name}: ${sentence}`)
}

async function measure (isPolite, quick) {
  const bed = await makeBed(ROWS)
  const env = { MAX_REQUESTS, MAX_CONNECTIONS: TOO_MANY_CLIENTS + 100 } // with room for probes
  const service = await bed.startService('overload', { program: bundle(), env })
  const next = requests(service)
  const usualMs = quick ? SECOND : 10 * SECOND
  await run(service, USUAL_CLIENTS, next, isPolite, usualMs / 2)
  const before = await usageOf(service.pid)
  const usual = await run(service, USUAL_CLIENTS, next, isPolite, usualMs)
  const watch = watchProcess(service)
  if (usual.served.length === 0) throw new Error('nothing is served')
  const crowd = await run(service, TOO_MANY_CLIENTS, next, isPolite, quick ? 2 * SECOND : 60 * SECOND)
  const { mostMemory, probes } = await watch.end()
  const recovery = await secondsToRecover(service, next, usual.served.length / usual.seconds)
  await bed.close()
  const rate = ({ served, seconds }) => served.length / seconds
  const name = isPolite ? 'waits for Retry-After' : 'asks again at once'
  return {
    name,
    row: [
      name, rate(usual).toFixed(0), percentile(usual.served, 0.99).toFixed(0), rate(crowd).toFixed(0),
      percentile(crowd.served, 0.99)?.toFixed(0), (crowd.refused / crowd.seconds).toFixed(0),
      percentile(probes, 0.99).toFixed(0), (before.memory / 1e6).toFixed(0), (mostMemory / 1e6).toFixed(0)
    ],
    goals: [
      [rate(crowd) >= KEPT_SHARE * rate(usual), `${(rate(crowd) / rate(usual)).toFixed(2)} of the usual answers/s (goal: ≥ ${KEPT_SHARE})`],
      [recovery <= MAX_RECOVERY_SECONDS, `the usual answers/s again within ${recovery} s (goal: ${MAX_RECOVERY_SECONDS} s)`],
      [crowd.failed + crowd.others === 0, `${crowd.failed} connections ended without an answer, ${crowd.others} answers were neither 200 nor 503 (goal: none)`]
    ]
  }
}

/** Users are read by id, which is kept nowhere: each costs a database command. */
function requests ({ token, other }) {
  const request = toRequest('GET', `/users/${other}`, { token })
  return () => request
}

/** Clients that ask again when they are answered, for this long. A polite one waits as long as a refusal says. */
async function run ({ url }, count, next, isPolite, ms) {
  const result = { served: [], refused: 0, failed: 0, others: 0 }
  const ending = AbortSignal.timeout(ms)
  setMaxListeners(0, ending)
  const began = performance.now()
  const clients = Promise.all(Array.from({ length: count }, async () => {
    let client
    while (!ending.aborted) {
      try {
        client ??= await openClient(url)
        const { status, retryAfter, ms } = await client.ask(next())
        if (status === 200) result.served.push(ms)
        else if (status === 503) {
          result.refused++
          if (isPolite) await sleep(retryAfter * SECOND, undefined, { signal: ending }).catch(() => {})
        } else result.others++
      } catch {
        result.failed++
        client?.close()
        client = undefined
      }
    }
    client?.close()
  }))
  // the last answers may come later, so that the recovery is timed from the end of the load
  await Promise.race([clients, once(ending, 'abort')])
  return { ...result, served: [...result.served], seconds: (performance.now() - began) / SECOND }
}

/** Asks for liveness on new connections, and notes the memory. */
function watchProcess ({ url, pid }) {
  const ending = new AbortController()
  const probes = []
  let mostMemory = 0
  const work = (async () => {
    while (!ending.signal.aborted) {
      const began = performance.now()
      const { status } = await fetch(`${url}/health/live`, { headers: { connection: 'close' } })
      if (status !== 200) throw new Error(`/health/live answered ${status}`)
      probes.push(performance.now() - began)
      mostMemory = Math.max(mostMemory, (await usageOf(pid)).memory)
      await sleep(PROBE_MS)
    }
  })()
  work.catch(() => {})
  return {
    async end () {
      ending.abort()
      await work
      return { probes, mostMemory }
    }
  }
}

/** Whole seconds until as many requests are served in a second as usual, within KEPT_SHARE. */
async function secondsToRecover (service, next, usualRate) {
  for (let second = 1; ; second++) {
    const { served, seconds } = await run(service, USUAL_CLIENTS, next, true, SECOND)
    if (served.length / seconds >= KEPT_SHARE * usualRate || second > 4 * MAX_RECOVERY_SECONDS) return second
  }
}
