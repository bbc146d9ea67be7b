import { AsyncLocalStorage } from 'node:async_hooks'

/** How long a request waits for the database: all its commands together, or each of them. */
const MAX_WAIT_MS = 5000
/** How long the database itself may work on one command: less than the driver waits for a silent connection. */
const MAX_COMMAND_MS = 2000
/** Waits are rounded to this, so that Node keeps few lists of timers. */
const STEP_MS = 50

export interface DatabaseWait {
  /** Each command has the full time. */
  isForEach: boolean
  spentMs: number
  /** Commands under way. While there is one, time is spent. */
  running: number
  since: number
}

const current = new AsyncLocalStorage<DatabaseWait>()

export const newDatabaseWait = (isForEach: boolean): DatabaseWait => ({ isForEach, spentMs: 0, running: 0, since: 0 })

/** Runs `work`, and everything that it starts, within the database time of one request. */
export const waitingWithin = <T>(wait: DatabaseWait, work: () => T): T => current.run(wait, work)

/**
 * Awaits a database command, or work that waits for one. Rejects when the request has used up its time; the command
 * goes on until the driver ends it. Work that belongs to no request has no limit.
 */
export async function inTime<T> (ask: () => Promise<T>): Promise<T> {
  const wait = current.getStore()
  if (!wait) return ask()
  const left = leftOf(wait)
  if (wait.running++ === 0) wait.since = performance.now()
  let timer: NodeJS.Timeout | undefined
  try {
    if (left <= 0) throw silence()
    return await Promise.race([
      ask(),
      new Promise<never>((_resolve, reject) => { timer = setTimeout(() => reject(silence()), left) })
    ])
  } finally {
    clearTimeout(timer)
    if (--wait.running === 0) wait.spentMs += performance.now() - wait.since
  }
}

/** The `maxTimeMS` of a command that is sent now. */
export function maxCommandMs (): number {
  const wait = current.getStore()
  return Math.max(1, Math.min(MAX_COMMAND_MS, wait ? leftOf(wait) : Infinity))
}

function leftOf ({ isForEach, spentMs, running, since }: DatabaseWait): number {
  if (isForEach) return MAX_WAIT_MS
  const spent = spentMs + (running > 0 ? performance.now() - since : 0)
  return Math.floor((MAX_WAIT_MS - spent) / STEP_MS) * STEP_MS
}

const silence = () => new Error(`MongoDB did not answer within ${MAX_WAIT_MS} ms of a request`)
