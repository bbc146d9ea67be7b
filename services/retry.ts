import { setTimeout as wait } from 'node:timers/promises'
import { serverBusy } from './errors.js'

const PAUSES_MS = [250, 500, 1000, 2000, 4000]
/**
 * Races that one writer may lose in a row. All requests of an account may race at once, and each round has one winner.
 * More lost races mean another fault.
 */
const MAX_RACES = 100

export interface RetryOptions {
  attempts: number
  /** An abort ends the pause at once. One last attempt follows. */
  signal: AbortSignal
  onFailure: (error: unknown) => void
}

/**
 * Repeats `work` until it succeeds, with a pause of 250 ms after the first failure and of 4 s after the fifth. Resolves
 * with whether it succeeded. Never rejects.
 */
export async function retry (
  work: () => Promise<unknown>,
  { attempts, signal, onFailure }: RetryOptions
): Promise<boolean> {
  for (let failures = 0; ;) {
    try {
      await work()
      return true
    } catch (error) {
      onFailure(error)
      if (++failures >= attempts || signal.aborted) return false
    }
    const ms = PAUSES_MS[Math.min(failures, PAUSES_MS.length) - 1]
    await wait(ms, undefined, { ref: false, signal }).catch(() => {})
  }
}

/**
 * Repeats a compare-and-set until its result is not undefined, which means that another write came between (optimistic
 * concurrency control). `race` is 0 at the first attempt. Throws 503 after MAX_RACES lost races.
 */
export async function retryConflict<T extends {} | null> (
  subject: string,
  attempt: (race: number) => Promise<T | undefined>
): Promise<T> {
  for (let race = 0; race < MAX_RACES; race++) {
    const result = await attempt(race)
    if (result !== undefined) return result
  }
  throw serverBusy(new Error(`${subject} was changed by another request at each of ${MAX_RACES} attempts`))
}
