import { LRUCache } from 'lru-cache'
import type { Collection, Filter } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import { withOwnDeadline } from '../request-deadline.js'
import { KEPT_MS } from './kept-pages.js'
import type { LibraryState } from './state.js'

/** The most items that a count counts. */
export const MAX_COUNTED = 10_000
const MAX_KEPT = 1000

export interface Count { total: number, exact: boolean }

/** Counts the same list at most once in 5 s for each version of the library. */
export function createCounts (library: Collection<LibraryDocument>) {
  const kept = new LRUCache<string, Promise<Count>>({ max: MAX_KEPT, ttl: KEPT_MS })

  return { of, upToBound }

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

  function load (name: string, make: () => Promise<Count>): Promise<Count> {
    const counting = withOwnDeadline(make)
    kept.set(name, counting)
    counting.catch(() => { if (kept.peek(name) === counting) kept.delete(name) })
    return counting
  }
}
