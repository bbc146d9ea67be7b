import { Binary, BSONRegExp, MaxKey, MinKey } from 'bson'
import { bracketOf, compareValues, equalValues } from './compare.js'
import { describe } from './describe.js'
import { badValue, CommandError, failedToParse } from './errors.js'
import type { Filter, Leaf, LeafOperator } from './match.js'
import { toSafeInteger } from './numbers.js'
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
    if (operand instanceof BSONRegExp) throw badValue(`Can't have RegEx as arg to predicate over field '${path}'.`)
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
  if (operand.some(item =>
    isDoc(item) && [...item.keys()][0]?.startsWith('$') === true && !item.has('$ref') && !item.has('$id'))) {
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

function regexLeaf (path: string, operand: Value, options?: Value): Leaf {
  if (options !== undefined && typeof options !== 'string') throw badValue('$options has to be a string')
  for (const flag of options ?? '') {
    if (!'imsxu'.includes(flag)) throw new CommandError(51108, ` invalid flag in regex options: ${flag}`)
  }
  const regex = typeof operand === 'string'
    ? new BSONRegExp(operand, options ?? '')
    : operand instanceof BSONRegExp ? new BSONRegExp(operand.pattern, options ?? operand.options) : undefined
  if (regex === undefined) throw badValue('$regex has to be a string')
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

function modTest (path: string, operand: Value): Leaf {
  if (!Array.isArray(operand)) throw badValue('malformed mod, needs to be an array')
  if (operand.length < 2) throw badValue('malformed mod, not enough elements')
  if (operand.length > 2) throw badValue('malformed mod, too many elements')
  const [divisor, remainder] = operand.map(item => isNumeric(item) ? Math.trunc(toNumber(item)) : NaN)
  if (divisor === undefined || !Number.isFinite(divisor)) throw badValue('malformed mod, divisor not a number')
  if (remainder === undefined || !Number.isFinite(remainder)) throw badValue('malformed mod, remainder not a number')
  if (divisor === 0) throw badValue('divisor cannot be 0')
  return leaf(path, '$mod', operand, value => {
    if (!isNumeric(value)) return false
    return typeof value === 'bigint'
      ? Number(value % BigInt(divisor)) === remainder
      : Math.trunc(toNumber(value)) % divisor === remainder
  })
}

function sizeTest (path: string, operand: Value): Leaf {
  const size = isNumeric(operand) ? toSafeInteger(operand) : undefined
  if (size === undefined) {
    throw badValue(
      `Failed to parse $size. Expected ${isNumeric(operand) ? 'an integer' : 'a number in'}: $size: ${describe(operand)}`
    )
  }
  if (size < 0) throw badValue(`Failed to parse $size. Expected a non-negative number in: $size: ${size}`)
  return leaf(path, '$size', operand, value => Array.isArray(value) && value.length === size, false)
}

function existsTest (path: string, operand: Value): Filter {
  const wanted = operand !== null && operand !== false && !(isNumeric(operand) && toNumber(operand) === 0)
  const exists = leaf(path, '$exists', true, value => value !== undefined, false)
  return wanted ? exists : { kind: 'not', child: exists }
}

function bits (name: string, accepts: (set: bigint, mask: bigint) => boolean) {
  return (path: string, operand: Value): Leaf => {
    const mask = bitMask(name, operand)
    return leaf(path, '$bits', operand, value => {
      const set = bitsOf(value)
      return set !== undefined && accepts(set & mask, mask)
    })
  }
}

function bitsOf (value: Value | undefined): bigint | undefined {
  if (value instanceof Binary) {
    return value.buffer.subarray(0, value.position).reduceRight((bits, byte) => (bits << 8n) | BigInt(byte), 0n)
  }
  if (!isNumeric(value)) return undefined
  if (typeof value === 'bigint') return BigInt.asUintN(64, value)
  const number = toNumber(value)
  return Number.isInteger(number) && Math.abs(number) < 2 ** 63 ? BigInt.asUintN(64, BigInt(number)) : undefined
}

function bitMask (name: string, operand: Value): bigint {
  if (Array.isArray(operand)) {
    return operand.reduce((mask: bigint, item) => {
      const position = isNumeric(item) ? toSafeInteger(item) : undefined
      if (position === undefined || position < 0) {
        throw badValue(`${name} takes bit positions that are non-negative integers`)
      }
      return mask | (1n << BigInt(position))
    }, 0n)
  }
  const mask = bitsOf(operand)
  if (mask === undefined || (isNumeric(operand) && toNumber(operand) < 0)) {
    throw failedToParse(`${name} takes an Array, a number, or a BinData`)
  }
  return mask
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
  },
  $mod: modTest,
  $size: sizeTest,
  $bitsAllSet: bits('$bitsAllSet', (set, mask) => set === mask),
  $bitsAnySet: bits('$bitsAnySet', set => set !== 0n),
  $bitsAllClear: bits('$bitsAllClear', set => set === 0n),
  $bitsAnyClear: bits('$bitsAnyClear', (set, mask) => set !== mask)
}
