import type { Collection } from './catalog.js'
import { checkDeadline } from './deadline.js'
import { lengthOf } from './iterate.js'
import { matches, type Filter } from './match.js'
import type { Plan } from './planner.js'
import type { Records, StoredRecord } from './records.js'
import { sortDocs, type SortField } from './sort.js'
import { countKeys, readKeys, recordOf, type Storage } from './storage.js'

/** The keys and documents that a query examined, for `explain`. */
export interface Examined { keys: number, docs: number }

export interface Source { storage: Storage, records: Records, collection: Collection }

/**
 * The documents of a plan that satisfy the filter, in the requested order, each once, after the first `skip`. At least
 * `limit` of them, if there are as many.
 */
export function run (
  source: Source,
  plan: Plan,
  { filter, sort, skip, limit }: { filter: Filter, sort: SortField[], skip: number, limit: number },
  examined: Examined
): Iterable<StoredRecord> {
  if (!plan.sorted) {
    return after(skip, sortDocs(matching(source, plan, filter, examined), ({ doc }) => doc, sort, skip + limit))
  }
  // where the keys decide, no document that is skipped is read
  return plan.exact
    ? matching(source, plan, filter, examined, skip)
    : after(skip, matching(source, plan, filter, examined))
}

function * matching (
  { storage, records, collection }: Source,
  plan: Plan,
  filter: Filter,
  examined: Examined,
  skip = 0
): Generator<StoredRecord> {
  for (const record of after(skip, scan(storage, plan, examined))) {
    const stored = records.read(collection, record)
    examined.docs++
    if (stored !== undefined && matches(filter, stored.doc)) yield stored
  }
}

function * after<T> (skip: number, found: Iterable<T>): Generator<T> {
  let left = skip
  for (const one of found) {
    if (left > 0) left--
    else yield one
  }
}

/** Record numbers in the order of the plan. One that several keys lead to comes once. */
function * scan (storage: Storage, { index, ranges, reverse }: Plan, examined: Examined): Generator<number> {
  const seen = index?.multikey.includes(true) === true ? new Set<number>() : undefined
  for (const range of reverse ? [...ranges].reverse() : ranges) {
    for (const key of readKeys(index === undefined ? storage.documents : storage.indexes, range, reverse)) {
      checkDeadline()
      if (index !== undefined) examined.keys++
      const record = recordOf(key)
      if (seen?.has(record) !== true) yield record
      seen?.add(record)
    }
  }
}

/** How many documents satisfy the filter, at most `limit`. Where the keys decide, no document is read. */
export function count (source: Source, plan: Plan, filter: Filter, limit: number, examined: Examined): number {
  if (filter.kind === 'and' && filter.children.length === 0) return source.collection.count
  if (plan.index !== undefined && plan.exact) {
    if (plan.index.multikey.includes(true)) return lengthOf(scan(source.storage, plan, examined), limit)
    const keys = plan.ranges.reduce(
      (total, range) => total + countKeys(source.storage.indexes, range, limit - total),
      0
    )
    examined.keys += keys
    return keys
  }
  return lengthOf(matching(source, plan, filter, examined), limit)
}
