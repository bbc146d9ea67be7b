import { Int32 } from 'bson'
import { compareValues, equalValues } from '../compare.js'
import { CommandError } from '../errors.js'
import { parseSort, sortValues } from '../sort.js'
import { fromInteger, isDoc, isNullish, isNumeric, isTruthy, toNumber, typeName, type Value } from '../values.js'
import { arity, named, strict, variadic } from './operands.js'
import { bind } from './types.js'

function array (value: Value | undefined, name: string): Value[] {
  if (Array.isArray(value)) return value
  throw new CommandError(28689, `${name} requires an array, but was of type: ${typeName(value)}`)
}

function integer (value: Value | undefined, name: string): number {
  const number = isNumeric(value) ? toNumber(value) : NaN
  if (!Number.isInteger(number)) {
    throw new CommandError(28690, `${name} requires an integral value, but was of type: ${typeName(value)}`)
  }
  return number
}

export function unique (values: Value[]): Value[] {
  const kept: Value[] = []
  for (const value of [...values].sort(compareValues)) {
    const last = kept.at(-1)
    if (last === undefined || !equalValues(last, value)) kept.push(value)
  }
  return kept
}

const includes = (list: Value[], value: Value | undefined): boolean => value !== undefined &&
  list.some(item => equalValues(item, value))

function slice (list: Value, first: Value, second?: Value): Value {
  const items = array(list, '$slice')
  const from = integer(first, '$slice')
  if (second === undefined) return from >= 0 ? items.slice(0, from) : items.slice(from)
  const count = integer(second, '$slice')
  if (count <= 0) throw new CommandError(28729, 'Third argument to $slice must be positive')
  const start = from >= 0 ? from : Math.max(0, items.length + from)
  return items.slice(start, start + count)
}

const text = (value: Value | undefined, fallback: string): string => typeof value === 'string' ? value : fallback

/** The first or last `n`, or the `n` smallest or largest that are not null. */
const several = (take: (items: Value[], n: number) => Value[]) => named(['input', 'n'], [], (fields, compile) => {
  const input = compile(fields.get('input') ?? null)
  const count = compile(fields.get('n') ?? null)
  return scope => {
    const items = input(scope)
    return isNullish(items) ? null : take(array(items, '$firstN'), integer(count(scope), '$firstN'))
  }
})

const sorted = (items: Value[]): Value[] => items.filter(item => !isNullish(item)).sort(compareValues)

/** The least or greatest of values that are not null. */
export function extreme (values: (Value | undefined)[], sign: 1 | -1): Value | null {
  return values.reduce<Value | null>((best, value) => {
    if (isNullish(value)) return best
    return best === null || compareValues(value, best) * sign > 0 ? value : best
  }, null)
}

const members = (values: (Value | undefined)[]): (Value | undefined)[] => values.length === 1 &&
  Array.isArray(values[0])
  ? values[0]
  : values

export const arrays = {
  $arrayElemAt: strict(2, 2, (list, at) => array(list, '$arrayElemAt').at(integer(at, '$arrayElemAt'))),
  $first: strict(1, 1, list => array(list, '$first')[0]),
  $last: strict(1, 1, list => array(list, '$last').at(-1)),
  $concatArrays: variadic(lists => lists.some(isNullish) ? null : lists.flatMap(list => array(list, '$concatArrays'))),
  $in: arity(2, 2, (value, list) => {
    if (!Array.isArray(list)) {
      throw new CommandError(40081, `$in requires an array as a second argument, found: ${typeName(list)}`)
    }
    return includes(list, value)
  }),
  $indexOfArray: strict(2, 4, (list, value, from = new Int32(0), to = new Int32(2 ** 31 - 1)) => {
    const end = integer(to, '$indexOfArray')
    const start = integer(from, '$indexOfArray')
    return new Int32(array(list, '$indexOfArray').findIndex((item, at) =>
      at >= start && at < end && equalValues(item, value)))
  }),
  $isArray: arity(1, 1, value => Array.isArray(value)),
  $size: arity(1, 1, value => {
    if (!Array.isArray(value)) {
      throw new CommandError(17124, `The argument to $size must be an array, but was of type: ${typeName(value)}`)
    }
    return new Int32(value.length)
  }),
  $slice: strict(2, 3, slice),
  $reverseArray: strict(1, 1, list => [...array(list, '$reverseArray')].reverse()),
  $range: strict(2, 3, (from, to, step = new Int32(1)) => {
    const [start, end, by] = [integer(from, '$range'), integer(to, '$range'), integer(step, '$range')]
    if (by === 0) throw new CommandError(34449, '$range requires a non-zero step value')
    return Array.from({ length: Math.max(0, Math.ceil((end - start) / by)) }, (_none, at) =>
      fromInteger(start + at * by))
  }),
  $map: named(['input', 'in'], ['as'], (fields, compile) => {
    const name = text(fields.get('as'), 'this')
    const input = compile(fields.get('input') ?? null)
    const body = compile(fields.get('in') ?? null, [name])
    return scope => {
      const items = input(scope)
      return isNullish(items) ? null : array(items, '$map').map(item => body(bind(scope, name, item)) ?? null)
    }
  }),
  $filter: named(['input', 'cond'], ['as', 'limit'], (fields, compile) => {
    const name = text(fields.get('as'), 'this')
    const input = compile(fields.get('input') ?? null)
    const keep = compile(fields.get('cond') ?? null, [name])
    const limit = compile(fields.get('limit') ?? null)
    return scope => {
      const items = input(scope)
      if (isNullish(items)) return null
      const most = limit(scope)
      return array(items, '$filter').filter(item => isTruthy(keep(bind(scope, name, item)))).slice(
        0,
        isNumeric(most) ? toNumber(most) : undefined
      )
    }
  }),
  $reduce: named(['input', 'initialValue', 'in'], [], (fields, compile) => {
    const input = compile(fields.get('input') ?? null)
    const initial = compile(fields.get('initialValue') ?? null)
    const body = compile(fields.get('in') ?? null, ['this', 'value'])
    return scope => {
      const items = input(scope)
      if (isNullish(items)) return null
      return array(items, '$reduce').reduce<Value | undefined>(
        (value, item) => body(bind(bind(scope, 'value', value), 'this', item)),
        initial(scope)
      )
    }
  }),
  $sortArray: named(['input', 'sortBy'], [], (fields, compile) => {
    const input = compile(fields.get('input') ?? null)
    const by = fields.get('sortBy') ?? null
    const compare = isDoc(by)
      ? sortValues(parseSort(by))
      : (a: Value, b: Value) => compareValues(a, b) * (isNumeric(by) ? toNumber(by) : 1)
    return scope => {
      const items = input(scope)
      return isNullish(items) ? null : [...array(items, '$sortArray')].sort(compare)
    }
  }),
  $zip: named(['inputs'], ['useLongestLength', 'defaults'], (fields, compile) => {
    const inputs = compile(fields.get('inputs') ?? null)
    const defaults = compile(fields.get('defaults') ?? [])
    return scope => {
      const lists = array(inputs(scope), '$zip')
      if (lists.some(isNullish)) return null
      const sizes = lists.map(list => array(list, '$zip').length)
      const fill = array(defaults(scope), '$zip')
      const length = fields.get('useLongestLength') === true ? Math.max(...sizes) : Math.min(...sizes)
      return Array.from({ length }, (_none, at) =>
        lists.map((list, which) => array(list, '$zip')[at] ?? fill[which] ?? null))
    }
  }),
  $firstN: several((items, n) => items.slice(0, n)),
  $lastN: several((items, n) => items.slice(-n)),
  $minN: several((items, n) => sorted(items).slice(0, n)),
  $maxN: several((items, n) => sorted(items).reverse().slice(0, n)),
  $min: variadic(values => extreme(members(values), -1)),
  $max: variadic(values => extreme(members(values), 1)),
  $setUnion: variadic(lists => lists.some(isNullish) ? null : unique(lists.flatMap(list => array(list, '$setUnion')))),
  $setIntersection: variadic(lists => {
    if (lists.some(isNullish)) return null
    const [first = [], ...rest] = lists.map(list => array(list, '$setIntersection'))
    return unique(first.filter(item => rest.every(list => includes(list, item))))
  }),
  $setDifference: strict(2, 2, (a, b) =>
    unique(array(a, '$setDifference')).filter(item => !includes(array(b, '$setDifference'), item))),
  $setEquals: variadic(lists => {
    const [first, ...rest] = lists.map(list => unique(array(list, '$setEquals')))
    return rest.every(list => equalValues(first ?? [], list))
  }),
  $setIsSubset: arity(2, 2, (a, b) => array(a, '$setIsSubset').every(item => includes(array(b, '$setIsSubset'), item))),
  $anyElementTrue: arity(1, 1, list => array(list, '$anyElementTrue').some(isTruthy)),
  $allElementsTrue: arity(1, 1, list => array(list, '$allElementsTrue').every(isTruthy))
}
