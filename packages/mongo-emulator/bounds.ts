import { BSONRegExp } from 'bson'
import type { Index } from './catalog.js'
import { cut, encodeComponent, invert, typeBounds } from './key-encoding.js'
import { typeCodes } from './match-operators.js'
import type { Filter, Leaf } from './match.js'
import { uint32, type KeyRange } from './storage.js'
import { isNumeric, orderOf, orderOfType, toNumber, UNDEFINED, type Value } from './values.js'

/** A place between encoded values: before everything that begins with `bytes`, or after it. */
interface Bound { bytes: Buffer, after: boolean }

interface Interval { lower: Bound, upper: Bound, point: boolean }

/** The encoded values that can satisfy a condition. `exact`: all of them do, so documents need not be read. */
interface Intervals { list: Interval[], exact: boolean }

/** The part of an index that a conjunction of conditions needs. */
export interface IndexBounds {
  ranges: KeyRange[]
  /** The number of leading fields fixed to points, and whether the next one is bounded. */
  points: number
  bounded: boolean
  /** For each leading field: the one value it is fixed to. */
  fixed: (Buffer | undefined)[]
  /** Every condition is one of the bounds. */
  complete: boolean
  exact: boolean
}

const MAX_PREFIXES = 1000
const ARRAY_TYPE = 4
const before = (bytes: Buffer): Bound => ({ bytes, after: false })
const after = (bytes: Buffer): Bound => ({ bytes, after: true })
const boundBytes = ({ bytes, after }: Bound): Buffer => after ? successor(bytes) : bytes
const compareBounds = (a: Bound, b: Bound): number => Buffer.compare(boundBytes(a), boundBytes(b))

/** The first bytes after everything that begins with these. In an inverted component the next byte may be 0xFF. */
function successor (bytes: Buffer): Buffer {
  const length = bytes.findLastIndex(byte => byte !== 0xff) + 1
  if (length === 0) return Buffer.of(0xff)
  const next = Buffer.from(bytes.subarray(0, length))
  next[length - 1]! += 1
  return next
}

/** The ranges of an index that hold every document that satisfies all the conditions. */
export function indexBounds (index: Index, conditions: Filter[]): IndexBounds {
  let prefixes: Buffer[] = [Buffer.alloc(0)]
  const used = new Set<Filter>()
  const fixed: (Buffer | undefined)[] = []
  const roots = new Set<string>()
  let exact = true
  let last: Interval[] | undefined
  for (const [at, { path, descending }] of index.fields.entries()) {
    const multikey = index.multikey[at] === true
    const root = path.split('.')[0] ?? path
    const intervals = multikey && roots.has(root) ? undefined : fieldIntervals(conditions, path, multikey, used)
    if (intervals === undefined) break
    if (multikey) roots.add(root)
    exact &&= intervals.exact
    const directed = descending ? intervals.list.map(reversed) : intervals.list
    if (!directed.every(({ point }) => point) || prefixes.length * directed.length > MAX_PREFIXES) {
      last = directed
      break
    }
    fixed.push(directed.length === 1 ? directed[0]?.lower.bytes : undefined)
    prefixes = prefixes.flatMap(prefix => directed.map(({ lower }) => Buffer.concat([prefix, lower.bytes])))
  }
  const ends = last ?? [{ lower: before(Buffer.alloc(0)), upper: after(Buffer.alloc(0)), point: false }]
  const ranges = prefixes.flatMap(prefix => ends.map(({ lower, upper }) => keyRange(index, prefix, lower, upper)))
  const complete = conditions.every(condition => used.has(condition))
  return {
    ranges: mergeRanges(ranges),
    points: fixed.length,
    bounded: last !== undefined,
    fixed,
    complete,
    exact: exact && !index.inexact && complete
  }
}

function keyRange (index: Index, prefix: Buffer, lower: Bound, upper: Bound): KeyRange {
  const id = uint32(index.id)
  const [start, cutStart] = cut(Buffer.concat([prefix, lower.bytes]))
  const [end, cutEnd] = cut(Buffer.concat([prefix, upper.bytes]))
  return {
    start: Buffer.concat([id, boundBytes({ bytes: start, after: lower.after && !cutStart })]),
    end: Buffer.concat([id, boundBytes({ bytes: end, after: upper.after || cutEnd })])
  }
}

/** Sorts ranges and joins those that touch, so that a scan meets every key once and in order. */
export function mergeRanges (ranges: KeyRange[]): KeyRange[] {
  const merged: KeyRange[] = []
  for (const range of [...ranges].sort((a, b) => Buffer.compare(a.start, b.start))) {
    const previous = merged.at(-1)
    if (Buffer.compare(range.start, range.end) >= 0) continue
    if (previous !== undefined && Buffer.compare(range.start, previous.end) <= 0) {
      if (Buffer.compare(range.end, previous.end) > 0) previous.end = range.end
    } else merged.push({ ...range })
  }
  return merged
}

const reversed = ({ lower, upper, point }: Interval): Interval => ({
  lower: flipped(upper),
  upper: flipped(lower),
  point
})
const flipped = ({ bytes, after }: Bound): Bound => ({ bytes: invert(bytes), after: !after })

/**
 * All conditions on a field together. On a field that holds arrays only one is used, because different members may
 * satisfy each.
 */
function fieldIntervals (conditions: Filter[], path: string, multikey: boolean, used: Set<Filter>):
  | Intervals
  | undefined {
  let result: Intervals | undefined
  const found = conditions.flatMap(condition => {
    const intervals = conditionIntervals(condition, path, multikey)
    return intervals === undefined ? [] : [{ condition, intervals }]
  }).sort((a, b) => Number(isPoints(b.intervals)) - Number(isPoints(a.intervals)))
  for (const { condition, intervals } of multikey ? found.slice(0, 1) : found) {
    used.add(condition)
    result = result === undefined ? intervals : intersect(result, intervals)
  }
  return result
}

const isPoints = ({ list }: Intervals): boolean => list.every(({ point }) => point)

function intersect (a: Intervals, b: Intervals): Intervals {
  const list = a.list.flatMap(left => b.list.flatMap(right => {
    const lower = compareBounds(left.lower, right.lower) >= 0 ? left.lower : right.lower
    const upper = compareBounds(left.upper, right.upper) <= 0 ? left.upper : right.upper
    return compareBounds(lower, upper) < 0 ? [{ lower, upper, point: left.point || right.point }] : []
  }))
  return { list, exact: a.exact && b.exact }
}

function conditionIntervals (condition: Filter, path: string, multikey: boolean): Intervals | undefined {
  if (condition.kind === 'not') {
    const { child } = condition
    return child.kind === 'leaf' && child.path === path && child.operator === '$exists'
      ? { list: [point(null)], exact: false }
      : undefined
  }
  if (condition.kind !== 'leaf' || condition.path !== path) return undefined
  const intervals = leafIntervals(condition)
  return intervals && { ...intervals, exact: intervals.exact && (!multikey || condition.operator === '$eq') }
}

function leafIntervals ({ operator, operand }: Leaf): Intervals | undefined {
  switch (operator) {
    case '$eq': return anyOf([operand])
    case '$in': return Array.isArray(operand) ? anyOf(operand) : undefined
    case '$type': return ofTypes(typeCodes(operand))
    case '$lt': case '$lte': case '$gt': case '$gte': return range(operator, operand)
    default: return undefined
  }
}

function point (value: Value): Interval {
  const bytes = encodeComponent(value)
  return { lower: before(bytes), upper: after(bytes), point: true }
}

/** An array is filed under each of its members, and as a member of others. */
function anyOf (operands: Value[]): Intervals | undefined {
  if (operands.some(operand => operand instanceof BSONRegExp)) return undefined
  const points = operands
    .flatMap(operand => Array.isArray(operand) ? [point(operand[0] ?? UNDEFINED), point(operand)] : [point(operand)])
    .sort((a, b) => compareBounds(a.lower, b.lower))
  return {
    list: points.filter(({ lower }, at) => at === 0 || compareBounds(points[at - 1]!.lower, lower) !== 0),
    exact: !operands.some(operand => operand === null || Array.isArray(operand))
  }
}

/** Types that share their order are one. Undefined for arrays: their members are indexed, so they may be anywhere. */
function ofTypes (codes: Set<number>): Intervals | undefined {
  if (codes.has(ARRAY_TYPE)) return undefined
  const orders = [...new Set([...codes].map(code => orderOfType(code) ?? 0))].sort((a, b) => a - b)
  return {
    list: orders.map(typeBounds).map(([first, end]) => ({ lower: before(first), upper: before(end), point: false })),
    exact: false
  }
}

function range (operator: '$lt' | '$lte' | '$gt' | '$gte', operand: Value): Intervals | undefined {
  if (Array.isArray(operand)) return undefined
  const inclusive = operator === '$lte' || operator === '$gte'
  if (operand === null || (isNumeric(operand) && Number.isNaN(toNumber(operand)))) {
    return { list: inclusive ? [point(operand)] : [], exact: false }
  }
  const bytes = encodeComponent(operand)
  const [first, end] = typeBounds(orderOf(operand))
  const lowest = isNumeric(operand) ? encodeComponent(-Infinity) : first // NaN comes before
  const interval = operator === '$lt' || operator === '$lte'
    ? { lower: before(lowest), upper: inclusive ? after(bytes) : before(bytes), point: false }
    : { lower: inclusive ? before(bytes) : after(bytes), upper: before(end), point: false }
  return { list: compareBounds(interval.lower, interval.upper) < 0 ? [interval] : [], exact: true }
}
