import { LRUCache } from 'lru-cache'
import type { Collection, Filter } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { Log } from '../ports.js'

/** As many items that a filter finds are counted. */
export const MAX_COUNTED = 10_000
/** For how long a count is held: what others wrote counts after so many milliseconds at the latest. */
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
  /** The same collection, whose commands may take so many milliseconds. */
  withDedicatedConnection: <T>(
    milliseconds: number,
    work: (library: Collection<LibraryDocument>) => Promise<T>
  ) => Promise<T>
  log: Pick<Log, 'warn'>
  /** Milliseconds that only go forward. */
  monotonic: () => number
}

/**
 * How many items there are, at next to no cost. MongoDB keeps the number of all rows, which costs no scan, but may be
 * off after an unclean shutdown and on
 * sharded clusters (manual, `count`, "Behavior"); by how much is measured in the background.
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
   * The total of a filter: of none it is exact, else up to MAX_COUNTED. Younger than two seconds, and than the last
   * `changed`.
   */
  async function of (filter: Filter<LibraryDocument>): Promise<Total> {
    await measured
    const key = JSON.stringify(filter, (_name, value) => value instanceof RegExp ? value.source : value)
    const { total, exact } = await (held.get(key) ?? load(key, filter))
    return key === '{}' ? { total: Math.max(0, total + offset), exact } : { total, exact }
  }

  /** Something was written: what was counted before does not count any more. */
  function changed (): void {
    held.clear()
  }

  /** Measures now and from time to time. Until the first time is over, totals wait, for a second at most. */
  function start (): void {
    measured = Promise.race([measure(), new Promise<void>(resolve => { setTimeout(resolve, WAIT_MS).unref() })])
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
      if (timer) log.warn({ event: 'library.count_failed', err })
    }
  }
}
