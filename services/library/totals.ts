import { LRUCache } from 'lru-cache'
import type { Collection, Filter } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { Log } from '../ports.js'
import { settledWithin } from '../settled-within.js'

/** The most items that a filtered count counts. */
export const MAX_COUNTED = 10_000
/** Milliseconds for which a count is cached. Writes of other processes show after this time at the latest. */
const HELD_MS = 2000
const MAX_HELD = 1000

const MEASURE_EVERY_MS = 15 * 60_000
const MEASURE_ATTEMPTS = 5
/** A count of every row may take longer than a request would wait. */
const MEASURE_TIMEOUT_MS = 60_000
const WAIT_MS = 1000

export interface Total { total: number, exact: boolean }

export interface TotalsOptions {
  library: Collection<LibraryDocument>
  /** Runs work on the same collection, whose commands may take this many milliseconds. */
  withDedicatedConnection: <T>(
    milliseconds: number,
    work: (library: Collection<LibraryDocument>) => Promise<T>
  ) => Promise<T>
  log: Pick<Log, 'warn'>
  /** A monotonic clock in milliseconds. */
  monotonic: () => number
}

/**
 * Counts items at almost no cost. MongoDB keeps the number of all rows, which costs no scan, but may be wrong after an
 * unclean shutdown and on sharded clusters (manual, `count`, "Behavior"). The error is measured in the background.
 */
export function createTotals ({ library, withDedicatedConnection, log, monotonic }: TotalsOptions) {
  const held = new LRUCache<string, Promise<Total>>({
    max: MAX_HELD,
    ttl: HELD_MS,
    ttlResolution: 0,
    perf: { now: monotonic }
  })
  let offset = 0
  let measured: Promise<unknown> = Promise.resolve()
  let timer: NodeJS.Timeout | undefined
  return { of, changed, start, close }

  /**
   * The total of a filter. It is exact without conditions, else up to MAX_COUNTED. It is less than two seconds old, and
   * newer than the last `changed`.
   */
  async function of (filter: Filter<LibraryDocument>): Promise<Total> {
    await measured
    const key = JSON.stringify(filter, (_name, value) => value instanceof RegExp ? value.source : value)
    const { total, exact } = await (held.get(key) ?? load(key, filter))
    return key === '{}' ? { total: Math.max(0, total + offset), exact } : { total, exact }
  }

  /** Drops all cached counts, after a write. */
  function changed (): void {
    held.clear()
  }

  /** Measures now and every 15 minutes. Totals wait for the first measurement, for a second at most. */
  function start (): void {
    measured = settledWithin(measure(), WAIT_MS)
    timer = setInterval(measure, MEASURE_EVERY_MS).unref()
  }

  function close (): void {
    clearInterval(timer)
    timer = undefined
  }

  function load (key: string, filter: Filter<LibraryDocument>): Promise<Total> {
    const counting = key === '{}' ? countAll() : countSome(filter)
    held.set(key, counting)
    counting.catch(() => { if (held.peek(key) === counting) held.delete(key) })
    return counting
  }

  async function countAll (): Promise<Total> {
    return { total: await library.estimatedDocumentCount(), exact: true }
  }

  async function countSome (filter: Filter<LibraryDocument>): Promise<Total> {
    const total = await library.countDocuments(filter, { limit: MAX_COUNTED + 1 })
    return { total: Math.min(total, MAX_COUNTED), exact: total <= MAX_COUNTED }
  }

  async function measure (): Promise<void> {
    try {
      await withDedicatedConnection(MEASURE_TIMEOUT_MS, async library => {
        for (let attempt = 0; attempt < MEASURE_ATTEMPTS; attempt++) {
          const before = await library.estimatedDocumentCount()
          const exact = await library.countDocuments({}, { hint: { _id: 1 } })
          if (await library.estimatedDocumentCount() !== before) continue
          offset = exact - before
          return
        }
      })
    } catch (err) {
      if (timer) log.warn({ event: 'library.count_failed', err }, 'The library could not be counted: it is tried again')
    }
  }
}
