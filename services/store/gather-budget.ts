import { serverBusy } from '../errors.js'

const TOTAL_BYTES = 64 * 1024 * 1024
/** Milliseconds that a client may keep its memory waiting for bytes while another upload waits for memory. */
const GRACE_MS = 2000
/** Milliseconds that an upload waits for memory. */
const WAIT_MS = 10_000
const CHECK_MS = 250

/** Memory that is lent to one part of one upload. */
export interface Reservation {
  /** Waits for bytes of the client. Rejects with 503 if other uploads need the memory more. */
  forClient: <T> (work: Promise<T>) => Promise<T>
  release: () => void
}

interface Holder {
  bytes: number
  /** How long the client has been waited for. `since`: the start of the present wait. */
  waitedMs: number
  since?: number
  evict: (error: Error) => void
}
interface Waiter { bytes: number, since: number, admit: () => void, refuse: (error: Error) => void }

/**
 * A part is gathered at the speed of the client. With a first come, first served budget (uploads/byte-budget.ts) a few
 * clients that send nothing would keep all of it, and nobody else could upload. Here their memory is taken back.
 *
 * Bounds the bytes of all uploads that are gathered before they go to the store. The smallest request is served first.
 * While an upload waits, the client with the largest product of memory and waiting time loses its memory. So slow
 * uploaders cannot starve others, however many there are.
 */
export function createGatherBudget (total = TOTAL_BYTES) {
  const holders = new Set<Holder>()
  const waiters = new Set<Waiter>()
  let free = total
  let timer: NodeJS.Timeout | undefined
  return { reserve }

  /** Resolves with this many bytes of memory. Rejects with 503 if there are none for too long. */
  async function reserve (wanted: number): Promise<Reservation> {
    const bytes = Math.min(wanted, total)
    if (bytes > free) await waitForMemory(bytes)
    else free -= bytes
    return reservation(bytes)
  }

  async function waitForMemory (bytes: number): Promise<void> {
    timer ??= setInterval(relieve, CHECK_MS).unref()
    await new Promise<void>((resolve, reject) => {
      waiters.add({ bytes, since: performance.now(), admit: resolve, refuse: reject })
      relieve()
    })
  }

  function reservation (bytes: number): Reservation {
    const holder: Holder = { bytes, waitedMs: 0, evict () {} }
    const evicted = new Promise<never>((_resolve, reject) => { holder.evict = reject })
    evicted.catch(() => {})
    holders.add(holder)
    return {
      async forClient (work) {
        holder.since = performance.now()
        try {
          return await Promise.race([work, evicted])
        } finally {
          holder.waitedMs = waitedFor(holder)
          delete holder.since
        }
      },
      release: () => giveBack(holder)
    }
  }

  function giveBack (holder: Holder): void {
    if (!holders.delete(holder)) return
    free += holder.bytes
    admit()
  }

  function admit (): void {
    for (const waiter of [...waiters].sort((a, b) => a.bytes - b.bytes)) {
      if (waiter.bytes > free) break
      waiters.delete(waiter)
      free -= waiter.bytes
      waiter.admit()
    }
    if (waiters.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  /**
   * Takes memory from idle clients, as much as the next waiting upload needs, and refuses uploads that have waited too
   * long.
   */
  function relieve (): void {
    const now = performance.now()
    for (const waiter of waiters) {
      if (now - waiter.since < WAIT_MS) continue
      waiters.delete(waiter)
      waiter.refuse(serverBusy())
    }
    const needed = Math.min(...[...waiters].map(({ bytes }) => bytes))
    const idle = [...holders].filter(holder => holder.since !== undefined && waitedFor(holder) >= GRACE_MS)
    for (const holder of idle.sort((a, b) => b.bytes * waitedFor(b) - a.bytes * waitedFor(a))) {
      if (waiters.size === 0 || needed <= free) break
      holder.evict(serverBusy())
      holders.delete(holder)
      free += holder.bytes
    }
    admit()
  }
}

const waitedFor = ({ waitedMs, since }: Holder) => waitedMs + (since === undefined ? 0 : performance.now() - since)
