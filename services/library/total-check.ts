import type { Log } from '../ports.js'
import type { LibraryStates } from './state.js'

const EVERY_MS = 15 * 60_000
/** A difference is corrected when it is found again after this time. No write takes this long between its two steps. */
const AGAIN_AFTER_MS = 60_000

export interface TotalCheckOptions {
  states: LibraryStates
  /** Counts every item, however long that takes: those that are shown, and those that are hidden. */
  countAll: () => Promise<{ shown: number, hidden: number }>
  log: Pick<Log, 'warn'>
  /** A monotonic clock in milliseconds. */
  monotonic?: () => number
}

/**
 * Compares the total in the state of the library with a count. A process that died between a write and the new version
 * leaves the total wrong by one, and lists that do not show the write.
 */
export function createTotalCheck ({
  states,
  countAll,
  log,
  monotonic = () => performance.now()
}: TotalCheckOptions) {
  let dueAt = -Infinity
  let suspected: { difference: number, since: number } | undefined
  return { run }

  /**
   * Counts if nothing was ever counted, or if the last check is long ago; also sooner if `isSuspicious`. Writes a new
   * version each time, so that lists show every change. A count that a write has overtaken is done again in the next
   * round.
   */
  async function run (isSuspicious: boolean): Promise<void> {
    if (isSuspicious) dueAt = -Infinity // until a count is valid
    const state = await states.read()
    if (state.counted && monotonic() < dueAt) return
    const { shown, hidden } = await countAll()
    const difference = shown - state.total
    const isSure = !state.counted || isSeenAgain(difference)
    if (!await states.correct(state.version, isSure ? difference : 0, hidden)) return
    if (state.counted && isSure && difference !== 0) {
      log.warn({ event: 'library.total_corrected', difference }, 'The total of the library was wrong and has been corrected')
    }
    if (difference === 0 || isSure) suspected = undefined
    else if (suspected?.difference !== difference) suspected = { difference, since: monotonic() }
    dueAt = suspected ? suspected.since + AGAIN_AFTER_MS : monotonic() + EVERY_MS
  }

  function isSeenAgain (difference: number): boolean {
    return suspected?.difference === difference && monotonic() - suspected.since >= AGAIN_AFTER_MS
  }
}
