import { setTimeout as wait } from 'node:timers/promises'

const PAUSES_MS = [250, 500, 1000, 2000, 4000]

/** Pauses before the next attempt: 250 ms after one failure, 4 s after five. Ends at once when `signal` aborts. */
export async function pauseAfter (failures: number, signal: AbortSignal): Promise<void> {
  const ms = PAUSES_MS[Math.min(failures, PAUSES_MS.length) - 1]
  await wait(ms, undefined, { ref: false, signal }).catch(() => {})
}
