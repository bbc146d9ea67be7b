import { BSONRegExp, MaxKey, MinKey } from 'bson'
import { bracketOf, compareValues, equalValues } from './compare.js'
import { badValue, failedToParse } from './errors.js'
import type { Filter, Leaf, LeafOperator } from './match.js'
import { compileRegex } from './regex.js'
import { isDoc, isNumeric, toNumber, typeNumber, typeNumbersByName, type Value } from './values.js'

type Test = (value: Value | undefined) => boolean

export function leaf (path: string, operator: LeafOperator, operand: Value, test: Test, expand = true): Leaf {
  return { kind: 'leaf', path, parts: path.split('.'), operator, operand, test, expand }
}

/** Equality; null also stands for a missing field, though not for BSON's `undefined` (as of MongoDB 8.0). */
export function eqTest (path: string, operand: Value): Leaf {
  if (operand === null) return leaf(path, '$eq', operand, value => value === undefined || value === null)
  return leaf(path, '$eq', operand, value => value !== undefined && equalValues(value, operand))
}

/** Ranges hold only within the type of their operand; MinKey and MaxKey are compared with every type. */
function range (operator: '$lt' | '$lte' | '$gt' | '$gte', accepts: (order: number) => boolean) {
  return (path: string, operand: Value): Leaf => {
    const any = operand instanceof MinKey || operand instanceof MaxKey
    const bracket = bracketOf(operand)
    const nan = Number.isNaN(isNumeric(operand) ? toNumber(operand) : 0)
    return leaf(path, operator, operand, value => {
      if (value === undefined) return acceptsMissing(operand, accepts)
      if (any) return accepts(compareValues(value, operand))
      if (bracketOf(value) !== bracket) return false
      if (nan || (isNumeric(value) && Number.isNaN(toNumber(value)))) {
        return accepts(0) && compareValues(value, operand) === 0
      }
      return accepts(compareValues(value, operand))
    })
  }
}

/** A missing field counts as null, and lies between MinKey and MaxKey. */
function acceptsMissing (operand: Value, accepts: (order: number) => boolean): boolean {
  if (operand === null) return accepts(0)
  return operand instanceof MinKey ? accepts(1) : operand instanceof MaxKey && accepts(-1)
}

function inTest (path: string, operand: Value, name = '$in'): Leaf {
  if (!Array.isArray(operand)) throw badValue(`${name} needs an array`)
  if (operand.some(item => isDoc(item) && [...item.keys()][0]?.startsWith('$') === true)) {
    throw badValue(`cannot nest $ under ${name}`)
  }
  const patterns = operand.filter(item => item instanceof BSONRegExp).map(regexTest)
  const sorted = operand.filter(item => !(item instanceof BSONRegExp)).sort(compareValues)
  const nullish = sorted.includes(null)
  return leaf(path, '$in', operand, value => {
    if (value === undefined) return nullish
    return includes(sorted, value) || patterns.some(test => test(value))
  })
}

function includes (sorted: Value[], value: Value): boolean {
  let low = 0
  let high = sorted.length - 1
  while (low <= high) {
    const middle = (low + high) >> 1
    const order = compareValues(sorted[middle] ?? null, value)
    if (order === 0) return true
    if (order < 0) low = middle + 1
    else high = middle - 1
  }
  return false
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

/** The type bytes that the operand of `$type` stands for. Throws MongoDB's error for an unknown type. */
export function typeCodes (operand: Value): Set<number> {
  const codes = new Set<number>()
  for (const item of Array.isArray(operand) ? operand : [operand]) {
    if (item === 'number') for (const code of [1, 16, 18, 19]) codes.add(code)
    else codes.add(typeCode(item))
  }
  if (codes.size === 0) throw failedToParse('$type must match at least one type')
  return codes
}

function typeCode (item: Value): number {
  const code = typeof item === 'string'
    ? typeNumbersByName.get(item)
    : isNumeric(item) ? toNumber(item) & 0xff : undefined
  if (typeof item === 'string' && code === undefined) throw badValue(`Unknown type name alias: ${item}`)
  if (code === undefined) throw badValue('type must be represented as a number or a string')
  if (![...typeNumbersByName.values()].includes(code)) throw badValue(`Invalid numerical type code: ${String(item)}`)
  return code
}

function existsTest (path: string, operand: Value): Filter {
  const wanted = operand !== null && operand !== false && !(isNumeric(operand) && toNumber(operand) === 0)
  const exists = leaf(path, '$exists', true, value => value !== undefined, false)
  return wanted ? exists : { kind: 'not', child: exists }
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
