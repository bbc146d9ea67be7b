import { BSONRegExp } from 'bson'
import { compareValues, equalValues } from './compare.js'
import { badValue } from './errors.js'
import type { Filter, Leaf, LeafOperator } from './match.js'
import { compileRegex } from './regex.js'
import { isDoc, isNumeric, isTruthy, orderOf, orderOfType, toNumber, typeNumber, typeNumberOf, type Value } from './values.js'

type Test = (value: Value | undefined) => boolean

export function leaf (path: string, operator: LeafOperator, operand: Value, test: Test, expand = true): Leaf {
  return { kind: 'leaf', path, parts: path.split('.'), operator, operand, test, expand }
}

/** Equality; null also stands for a missing field. */
export function eqTest (path: string, operand: Value): Leaf {
  if (operand === null) return leaf(path, '$eq', operand, value => value === undefined || value === null)
  return leaf(path, '$eq', operand, value => value !== undefined && equalValues(value, operand))
}

const isNaNValue = (value: Value): boolean => isNumeric(value) && Number.isNaN(toNumber(value))

/** Ranges hold only within the type of their operand. A missing field counts as null; NaN is equal to itself only. */
function range (operator: '$lt' | '$lte' | '$gt' | '$gte', accepts: (order: number) => boolean) {
  return (path: string, operand: Value): Leaf => leaf(path, operator, operand, (value = null) => {
    if (orderOf(value) !== orderOf(operand)) return false
    const order = compareValues(value, operand)
    return (order === 0 || !(isNaNValue(value) || isNaNValue(operand))) && accepts(order)
  })
}

function inTest (path: string, operand: Value, name = '$in'): Leaf {
  if (!Array.isArray(operand)) throw badValue(`${name} needs an array`)
  if (operand.some(item => isDoc(item) && [...item.keys()][0]?.startsWith('$') === true)) {
    throw badValue(`cannot nest $ under ${name}`)
  }
  const patterns = operand.filter(item => item instanceof BSONRegExp).map(regexTest)
  const sorted = operand.filter(item => !(item instanceof BSONRegExp)).sort(compareValues)
  const hasNull = sorted.includes(null)
  return leaf(path, '$in', operand, value =>
    value === undefined ? hasNull : includes(sorted, value) || patterns.some(test => test(value)))
}

function includes (sorted: Value[], value: Value): boolean {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (compareValues(sorted[middle] ?? null, value) < 0) low = middle + 1
    else high = middle
  }
  return low < sorted.length && equalValues(sorted[low] ?? null, value)
}

function regexTest (regex: BSONRegExp): Test {
  const compiled = compileRegex(regex)
  return value =>
    typeof value === 'string' ? compiled.test(value) : value instanceof BSONRegExp && equalValues(value, regex)
}

function regexLeaf (path: string, operand: Value): Leaf {
  const regex = typeof operand === 'string' ? new BSONRegExp(operand) : operand
  if (!(regex instanceof BSONRegExp)) throw badValue('$regex has to be a string')
  return leaf(path, '$regex', regex, regexTest(regex))
}

/** The type bytes that the operand of `$type` stands for: names or numbers. Throws BadValue for an unknown type. */
export function typeCodes (operand: Value): Set<number> {
  return new Set((Array.isArray(operand) ? operand : [operand]).map(item => {
    const code = typeof item === 'string' ? typeNumberOf(item) : isNumeric(item) ? toNumber(item) : undefined
    if (code === undefined || orderOfType(code) === undefined) throw badValue(`Unknown type: ${String(item)}`)
    return code
  }))
}

function existsTest (path: string, operand: Value): Filter {
  const exists = leaf(path, '$exists', true, value => value !== undefined, false)
  return isTruthy(operand) ? exists : { kind: 'not', child: exists }
}

/** The field operators that need only their operand. */
export const operators = {
  $eq: eqTest,
  $lt: range('$lt', order => order < 0),
  $lte: range('$lte', order => order <= 0),
  $gt: range('$gt', order => order > 0),
  $gte: range('$gte', order => order >= 0),
  $in: inTest,
  $regex: regexLeaf,
  $exists: existsTest,
  $type: (path: string, operand: Value): Leaf => {
    const codes = typeCodes(operand)
    return leaf(path, '$type', operand, value => value !== undefined && codes.has(typeNumber(value)))
  }
}
