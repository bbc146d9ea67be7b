import { AsyncLocalStorage } from 'node:async_hooks'

/** How long a request waits for the database: all its commands together, or each of them. */
export const MAX_WAIT_MS = 5000
/** The database may work on one command for this share of MAX_WAIT_MS: less than the driver waits for its answer. */
const COMMAND_SHARE = 0.4
/** Waits are rounded to this, so that Node keeps few lists of timers. */
const STEP_MS = 50

/** The time that one request has left for its database commands. */
export interface RequestDeadline {
  /** Each command has the full time. */
  isPerCommand: boolean
  maxWaitMs: number
  spentMs: number
  /** Commands under way. While there is one, time is spent. */
  running: number
  since: number
}

const current = new AsyncLocalStorage<RequestDeadline>()

export const newRequestDeadline = (isPerCommand: boolean, maxWaitMs: number): RequestDeadline =>
  ({ isPerCommand, maxWaitMs, spentMs: 0, running: 0, since: 0 })

/** Runs `work`, and everything that it starts, with this deadline. */
export const runWithDeadline = <T>(deadline: RequestDeadline, work: () => T): T => current.run(deadline, work)

/** Runs work that several requests share, or that must be done after a request: no request's deadline bounds it. */
export const withOwnDeadline = <T>(work: () => Promise<T>) =>
  runWithDeadline(newRequestDeadline(true, current.getStore()?.maxWaitMs ?? MAX_WAIT_MS), work)

/**
 * Awaits a database command, or work that waits for one. Rejects when the request's deadline has passed; the command
 * goes on until the driver ends it. Work that belongs to no request has no deadline.
 *
 * Without it, a request to a silent database waits for the driver's limits once for each command and each retry, and
 * longer where MONGO_URI sets longer ones. All that time its client has no answer, and it holds one of MAX_REQUESTS
 * places (test/outage.test.ts).
 */
export async function withinDeadline<T> (work: () => Promise<T>): Promise<T> {
  const deadline = current.getStore()
  if (!deadline) return work()
  const left = remainingMs(deadline)
  if (deadline.running++ === 0) deadline.since = performance.now()
  let timer: NodeJS.Timeout | undefined
  try {
    if (left <= 0) throw deadlineExceeded(deadline)
    return await Promise.race([
      work(),
      new Promise<never>((_resolve, reject) => { timer = setTimeout(() => reject(deadlineExceeded(deadline)), left) })
    ])
  } finally {
    clearTimeout(timer)
    if (--deadline.running === 0) deadline.spentMs += performance.now() - deadline.since
  }
}

/** The `maxTimeMS` of a command that is sent now. */
export function maxCommandMs (): number {
  const deadline = current.getStore()
  if (!deadline) return MAX_WAIT_MS * COMMAND_SHARE
  return Math.max(1, Math.floor(Math.min(deadline.maxWaitMs * COMMAND_SHARE, remainingMs(deadline))))
}

function remainingMs ({ isPerCommand, maxWaitMs, spentMs, running, since }: RequestDeadline): number {
  if (isPerCommand) return maxWaitMs
  const spent = spentMs + (running > 0 ? performance.now() - since : 0)
  return Math.floor((maxWaitMs - spent) / STEP_MS) * STEP_MS
}

const deadlineExceeded = ({ maxWaitMs }: RequestDeadline) =>
  new Error(`MongoDB did not answer within ${maxWaitMs} ms of a request`)
