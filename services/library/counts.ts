import { LRUCache } from 'lru-cache'
import type { Collection, Filter } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import { withOwnDeadline } from '../request-deadline.js'
import { KEPT_MS } from './kept-pages.js'
import type { LibraryState } from './state.js'
import { HIDDEN_ITEMS } from './view.js'

/** The most items that a count counts. */
export const MAX_COUNTED = 10_000
const MAX_KEPT = 1000

export interface Count { total: number, exact: boolean }

/** Counts the same list at most once in 5 s for each version of the library. */
export function createCounts (library: Collection<LibraryDocument>) {
  const kept = new LRUCache<string, Promise<Count>>({ max: MAX_KEPT, ttl: KEPT_MS })

  return { of, upToBound, shown, difference }

  /** The count of a list, which `key` names, in this state of the library. Callers share one `make` and its failure. */
  function of (state: LibraryState, key: string, make: () => Promise<Count>): Promise<Count> {
    const name = `${state.version} ${key}`
    return kept.get(name) ?? load(name, make)
  }

  /** Counts what a filter finds, 10,000 items at most. */
  async function upToBound (filter: Filter<LibraryDocument>): Promise<Count> {
    const total = await library.countDocuments(filter, { limit: MAX_COUNTED + 1 })
    return { total: Math.min(total, MAX_COUNTED), exact: total <= MAX_COUNTED }
  }

  /**
   * Counts what a filter finds and is not hidden, 10,000 items at most. Where items are hidden it takes two counts by
   * indexes: one that looks for `hidden` would read each row.
   */
  async function shown (filter: Filter<LibraryDocument>, state: LibraryState): Promise<Count> {
    if (state.counted && state.hidden === 0) return upToBound(filter)
    const hidden = await library.countDocuments({ ...HIDDEN_ITEMS, $and: [filter] })
    const total = await library.countDocuments(filter, { limit: MAX_COUNTED + hidden + 1 }) - hidden
    return { total: Math.min(total, MAX_COUNTED), exact: total <= MAX_COUNTED }
  }

  /**
   * By how many items a caller's own view is larger than the shared one, by the rows in which they differ: 10,000 at
   * most.
   */
  async function difference (filter: Filter<LibraryDocument>): Promise<Count> {
    const groups = await library.aggregate<{ _id: string | null, rows: number }>([
      { $match: filter },
      { $limit: MAX_COUNTED + 1 },
      { $group: { _id: '$hidden', rows: { $sum: 1 } } }
    ]).toArray()
    const sum = (isHidden: boolean) => groups.reduce((sum, { _id: hidden, rows }) =>
      sum + ((hidden !== null) === isHidden ? rows : 0), 0)
    return { total: sum(true) - sum(false), exact: sum(true) + sum(false) <= MAX_COUNTED }
  }

  function load (name: string, make: () => Promise<Count>): Promise<Count> {
    const counting = withOwnDeadline(make)
    kept.set(name, counting)
    counting.catch(() => { if (kept.peek(name) === counting) kept.delete(name) })
    return counting
  }
}
