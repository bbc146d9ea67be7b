import { setTimeout as sleep } from 'node:timers/promises'
import { openConnections, percentile } from './load.js'
import { usageOf } from './usage.js'

/** After the last answer of a round, so that the work that no answer waits for counts as well. */
const SETTLE_MS = 300

/** Gives requests for this long after the first, and at least one for each connection. */
export function untilTime (milliseconds, connections, toRequest) {
  let [end, i] = [Infinity, 0]
  return () => {
    if (i === 0) end = performance.now() + milliseconds
    return i < connections || performance.now() < end ? toRequest(i++) : undefined
  }
}

/** Sends the requests to a server. Resolves with what one of them costs. */
export async function measure (way, { connections }, next, expected) {
  const open = await openConnections(way.url, connections)
  const before = await usageOf(way.pid)
  const { seconds, latencies } = await open.run(next, expected).catch(error => {
    throw new Error(`${way.name} failed`, { cause: error })
  })
  await sleep(SETTLE_MS)
  const after = await usageOf(way.pid)
  open.close()
  way.requests += latencies.length
  return {
    cpu: (after.cpuSeconds - before.cpuSeconds) / latencies.length,
    speed: latencies.length / seconds,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    memory: after.memory
  }
}
