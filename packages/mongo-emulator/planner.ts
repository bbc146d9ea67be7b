import { indexBounds, mergeRanges, type IndexBounds } from './bounds.js'
import type { Collection, Index } from './catalog.js'
import { equalValues } from './compare.js'
import { badValue } from './errors.js'
import type { Filter, Leaf } from './match.js'
import type { SortField } from './sort.js'
import { countKeys, prefixRange, uint32, type KeyRange, type Storage } from './storage.js'
import { isDoc, type Value } from './values.js'

/**
 * How a query finds its documents. The filter is applied to each of them again, so ranges may be too wide, never too
 * narrow.
 */
export interface Plan {
  /** Undefined for a scan of the collection. */
  index: Index | undefined
  ranges: KeyRange[]
  reverse: boolean
  /** The scan yields the order asked for. */
  sorted: boolean
  /** Every key in the ranges belongs to a document that satisfies the filter. */
  exact: boolean
}

interface Candidate extends Plan { index: Index, score: number, bounded: boolean, complete: boolean }

/** `$or` is expanded up to this many branches. */
const MAX_BRANCHES = 64
/** A filter that leaves fewer keys than this is worth a sort in memory rather than a scan in order. */
const FEW_KEYS = 1000
/** The score of a field that is fixed to one value. */
const POINT = 2

/**
 * Chooses a plan: an index that finds only wanted documents, in the wanted order; else the index that leaves the fewest
 * keys; or one with the wanted order when the rest is not selective.
 * Throws BadValue for a hint that names no index.
 */
export function plan (storage: Storage, collection: Collection, filter: Filter, sort: SortField[], hint?: Value): Plan {
  const branches = disjuncts(filter)
  if (hint !== undefined) return candidate(hintedIndex(collection, hint), branches, sort)
  const candidates = collection.indexes.filter(index => usable(index, branches)).map(index =>
    candidate(index, branches, sort))
  return choose(storage, candidates, sort) ?? candidates.find(({ sorted }) => sorted && sort.length > 0) ?? {
    index: undefined,
    ranges: [prefixRange(uint32(collection.id))],
    reverse: false,
    sorted: sort.length === 0,
    exact: false
  }
}

function hintedIndex (collection: Collection, hint: Value): Index {
  const found = collection.indexes.find(({ name, spec }) =>
    isDoc(hint) ? equalValues(hint, spec.get('key') ?? null) : name === hint)
  if (found === undefined) {
    throw badValue(
      'error processing query: planner returned error :: caused by :: hint provided does not correspond to an existing index'
    )
  }
  return found
}

/** The filter as alternatives of conjunctions. An `$or` that would make too many stays one condition. */
function disjuncts (filter: Filter): Filter[][] {
  if (filter.kind === 'or' && filter.children.length > 0) {
    const branches = filter.children.flatMap(disjuncts)
    return branches.length > MAX_BRANCHES ? [[filter]] : branches
  }
  if (filter.kind !== 'and') return [[filter]]
  return filter.children.reduce<Filter[][]>((so, child) => {
    const branches = disjuncts(child)
    if (so.length * branches.length > MAX_BRANCHES) return so.map(conditions => [...conditions, child])
    return so.flatMap(conditions => branches.map(branch => [...conditions, ...branch]))
  }, [[]])
}

/** Sparse and partial indexes serve only filters that ask for nothing they leave out. */
const usable = (index: Index, branches: Filter[][]): boolean =>
  branches.every(conditions =>
    (!index.sparse ||
      index.fields.some(({ path }) => conditions.some(condition => impliesExistence(condition, path)))) &&
    (index.partial === undefined || implies(conditions, index.partial)))

function impliesExistence (condition: Filter, path: string): boolean {
  return condition.kind === 'leaf' &&
    condition.path === path &&
    condition.operator !== '$elemMatch' &&
    !condition.test(undefined)
}

function implies (conditions: Filter[], needed: Filter): boolean {
  if (needed.kind === 'and') return needed.children.every(child => implies(conditions, child))
  if (needed.kind !== 'leaf') return false
  return conditions.some(condition =>
    condition.kind === 'leaf' && condition.path === needed.path && leafImplies(condition, needed))
}

function leafImplies (given: Leaf, needed: Leaf): boolean {
  if (given.operator === needed.operator && equalValues(given.operand, needed.operand)) return true
  if (given.operator === '$in' && Array.isArray(given.operand)) return given.operand.every(value => needed.test(value))
  const isBeyond = /^\$[gl]t/.test(needed.operator) && given.operator.startsWith(needed.operator.slice(0, 3))
  return (given.operator === '$eq' || isBeyond) && needed.test(given.operand)
}

function candidate (index: Index, branches: Filter[][], sort: SortField[]): Candidate {
  const bounds = branches.map(conditions => indexBounds(index, conditions))
  const { sorted, reverse } = order(index, bounds, sort)
  return {
    index,
    ranges: mergeRanges(bounds.flatMap(({ ranges }) => ranges)),
    sorted,
    reverse,
    exact: bounds.every(({ exact }) => exact),
    bounded: bounds.every(({ points, bounded }) => points > 0 || bounded),
    complete: bounds.every(({ complete }) => complete),
    score: Math.min(...bounds.map(({ points, bounded }) => points * POINT + Number(bounded)))
  }
}

/**
 * Whether an index, read forwards or backwards, has the wanted order. Fields fixed to one value do not count. A field
 * that holds arrays may be fixed too, because a document has each key once, but it gives no order.
 */
function order (index: Index, bounds: IndexBounds[], sort: SortField[]): { sorted: boolean, reverse: boolean } {
  if (sort.length === 0) return { sorted: true, reverse: false }
  const isFixed = (at: number): boolean => {
    const first = bounds[0]?.fixed[at]
    return first !== undefined && bounds.every(({ fixed }) => fixed[at]?.equals(first) === true)
  }
  const fixedPaths = new Set(index.fields.filter((_field, at) => isFixed(at) && index.multikey[at] !== true).map(
    ({ path }) => path
  ))
  const wanted = sort.filter(({ path }) => !fixedPaths.has(path))
  let reverse: boolean | undefined
  let next = 0
  for (const [at, { path, descending }] of index.fields.entries()) {
    const field = wanted[next]
    if (field === undefined) break
    if (isFixed(at)) continue
    if (field.path !== path || index.multikey[at] === true) return { sorted: false, reverse: false }
    reverse ??= field.descending !== descending
    if (reverse !== (field.descending !== descending)) return { sorted: false, reverse: false }
    next++
  }
  return { sorted: next === wanted.length && !index.inexact, reverse: reverse ?? false }
}

function choose (storage: Storage, candidates: Candidate[], sort: SortField[]): Plan | undefined {
  const bounded = candidates.filter(candidate => candidate.bounded)
  const byId = bounded.find(({ index, score, ranges }) =>
    index.name === '_id_' && score >= POINT && ranges.length < FEW_KEYS)
  if (byId !== undefined) return byId // each of its ranges has one key at most
  const direct = bounded.find(({ sorted, complete }) => sorted && complete && sort.length > 0)
  if (direct !== undefined) return direct
  const keys = new Map(bounded.map(candidate =>
    [candidate, bounded.length === 1 && candidate.sorted ? 0 : probe(storage, candidate)]))
  const best = bounded.sort((a, b) =>
    (keys.get(a) ?? 0) - (keys.get(b) ?? 0) || Number(b.sorted) - Number(a.sorted) || b.score - a.score)[0]
  if (best === undefined || best.sorted || (keys.get(best) ?? 0) < FEW_KEYS) return best
  return bounded.filter(({ sorted }) => sorted).sort((a, b) => b.score - a.score)[0] ??
    candidates.find(({ sorted }) => sorted && sort.length > 0) ??
    best
}

function probe (storage: Storage, { ranges }: Plan): number {
  let keys = 0
  for (const range of ranges) {
    keys += countKeys(storage.indexes, range, FEW_KEYS - keys)
    if (keys >= FEW_KEYS) break
  }
  return keys
}
