import { LRUCache } from 'lru-cache'
import type { Collection, Filter } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import { KEPT_MS } from './kept-pages.js'
import type { LibraryState } from './state.js'

/** The most items that a count counts. */
export const MAX_COUNTED = 10_000
const MAX_KEPT = 1000

export interface Count { total: number, exact: boolean }

/**
 * Counts the items that a filter finds, once for each version of the library. The number of all items is in the state
 * of the library, as soon as that was counted.
 */
export function createCounts (library: Collection<LibraryDocument>, monotonic: () => number) {
  const kept = new LRUCache<string, Promise<Count>>({
    max: MAX_KEPT,
    ttl: KEPT_MS,
    ttlResolution: 0,
    perf: { now: monotonic }
  })

  return async function count (state: LibraryState, filter: Filter<LibraryDocument>): Promise<Count> {
    const text = JSON.stringify(filter, (_name, value) => value instanceof RegExp ? value.source : value)
    if (text === '{}' && state.counted) return { total: Math.max(0, state.total), exact: true }
    const key = `${state.epoch} ${state.version} ${text}`
    return kept.get(key) ?? load(key, filter)
  }

  function load (key: string, filter: Filter<LibraryDocument>): Promise<Count> {
    const counting = countUpToBound(filter)
    kept.set(key, counting)
    counting.catch(() => { if (kept.peek(key) === counting) kept.delete(key) })
    return counting
  }

  async function countUpToBound (filter: Filter<LibraryDocument>): Promise<Count> {
    const total = await library.countDocuments(filter, { limit: MAX_COUNTED + 1 })
    return { total: Math.min(total, MAX_COUNTED), exact: total <= MAX_COUNTED }
  }
}
