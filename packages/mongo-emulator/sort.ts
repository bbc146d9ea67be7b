import { compareValues } from './compare.js'
import { describe } from './describe.js'
import { CommandError } from './errors.js'
import { visitPath } from './paths.js'
import { isNumeric, toNumber, UNDEFINED, type Doc, type Value } from './values.js'

/** One field of a sort specification. */
export interface SortField { path: string, parts: string[], descending: boolean }

/** Parses `{ field: 1 | -1 }`. Throws CommandError 15975 for anything else. */
export function parseSort (spec: Doc): SortField[] {
  return [...spec].map(([path, direction]) => {
    const sign = isNumeric(direction) ? toNumber(direction) : 0
    if (Math.abs(sign) !== 1 || path.startsWith('$') || path.split('.').includes('')) {
      throw new CommandError(15975, `Illegal key in sort specification: ${path}: ${describe(direction)}`)
    }
    return { path, parts: path.split('.'), descending: sign < 0 }
  })
}

/** The sort key of a document: of an array its least member ascending, its greatest descending; null when missing. */
function sortKey (value: Value, { parts, descending }: SortField): Value {
  let best: Value | undefined
  const offer = (candidate: Value) => {
    if (best === undefined || (compareValues(candidate, best) < 0) !== descending) best = candidate
  }
  visitPath(value, parts, false, found => {
    if (!Array.isArray(found)) offer(found ?? null)
    else if (found.length === 0) offer(UNDEFINED)
    else found.forEach(offer)
    return false
  })
  return best ?? null
}

function sortKeys (value: Value, fields: SortField[]): Value[] {
  return fields.map(field => sortKey(value, field))
}

function compareKeys (a: Value[], b: Value[], fields: SortField[]): number {
  for (const [at, { descending }] of fields.entries()) {
    const order = compareValues(a[at] ?? null, b[at] ?? null)
    if (order !== 0) return descending ? -order : order
  }
  return 0
}

/** Sorts stably, in memory; with a limit only that many are kept. */
export function sortDocs<T> (items: Iterable<T>, docOf: (item: T) => Doc, fields: SortField[], limit = Infinity): T[] {
  let entries: { item: T, keys: Value[] }[] = []
  const shrink = () => {
    entries.sort((a, b) => compareKeys(a.keys, b.keys, fields))
    if (entries.length > limit) entries = entries.slice(0, limit)
  }
  for (const item of items) {
    entries.push({ item, keys: sortKeys(docOf(item), fields) })
    if (entries.length > 2 * limit + 1000) shrink()
  }
  shrink()
  return entries.map(({ item }) => item)
}
