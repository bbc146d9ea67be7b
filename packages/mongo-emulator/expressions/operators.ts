import { Int32 } from 'bson'
import { compareValues } from '../compare.js'
import { CommandError, typeMismatch } from '../errors.js'
import { add } from '../numbers.js'
import { isDoc, isNullish, isNumeric, isTruthy, toNumber, typeName, type Numeric, type Value } from '../values.js'
import type { Operator } from './types.js'

type Values = (Value | undefined)[]

/** An operator over operands that are evaluated before it is called, `count` of them if that is given. */
const over = (name: string, count: number | undefined, apply: (values: Values) => Value | undefined): Operator => (
  operand,
  compile
) => {
  const list = Array.isArray(operand) ? operand : [operand]
  if (count !== undefined && list.length !== count) {
    throw new CommandError(
      16020,
      `Expression ${name} takes exactly ${count} arguments. ${list.length} were passed in.`
    )
  }
  const items = list.map(item => compile(item))
  return scope => apply(items.map(item => item(scope)))
}

/** Expressions order a missing field below everything, null included. */
function compareOperands ([a, b]: Values): number {
  if (a === undefined || b === undefined) return Number(b === undefined) - Number(a === undefined)
  return compareValues(a, b)
}

/** A sum that goes on as a double where an int64 overflows. */
export const sum = (a: Numeric, b: Numeric): Numeric => add(a, b) ?? toNumber(a) + toNumber(b)

function addAll (values: Values): Value {
  if (values.some(isNullish)) return null
  const dates = values.filter(value => value instanceof Date)
  if (dates.length > 1) throw new CommandError(16612, 'only one date allowed in an $add expression')
  const total = values.filter(value => !(value instanceof Date)).reduce<Numeric>((so, value) => {
    if (!isNumeric(value)) throw typeMismatch(`$add only supports numeric or date types, not ${typeName(value)}`)
    return sum(so, value)
  }, new Int32(0))
  return dates[0] === undefined ? total : new Date(dates[0].getTime() + Math.round(toNumber(total)))
}

function toLong (value: Value | undefined): Value {
  if (isNullish(value)) return null
  const number = value instanceof Date ? value.getTime() : isNumeric(value) ? Math.trunc(toNumber(value)) : NaN
  if (typeof value === 'bigint') return value
  if (Number.isSafeInteger(number)) return BigInt(number)
  throw new CommandError(
    241,
    `Unsupported conversion from ${typeName(value)} to long in $convert with no onError value`
  )
}

const reduce: Operator = (operand, compile) => {
  if (!isDoc(operand)) throw new CommandError(40075, '$reduce requires an object as an argument')
  const input = compile(operand.get('input') ?? null)
  const initial = compile(operand.get('initialValue') ?? null)
  const body = compile(operand.get('in') ?? null)
  return scope => {
    const items = input(scope)
    if (isNullish(items)) return null
    if (!Array.isArray(items)) {
      throw new CommandError(40080, `$reduce requires that 'input' be an array, found: ${typeName(items)}`)
    }
    return items.reduce<Value | undefined>(
      (value, item) => body(new Map([...scope, ['value', value], ['this', item]])),
      initial(scope)
    )
  }
}

/** The expression operators that this server knows. `$cond` takes its operands as an array only. */
export const operators: Record<string, Operator> = {
  $literal: operand => () => operand,
  $or: over('$or', undefined, values => values.some(isTruthy)),
  $eq: over('$eq', 2, values => compareOperands(values) === 0),
  $lte: over('$lte', 2, values => compareOperands(values) <= 0),
  $cond: over('$cond', 3, ([test, then, otherwise]) => isTruthy(test) ? then : otherwise),
  $ifNull: over('$ifNull', undefined, values => values.find(value => !isNullish(value)) ?? values.at(-1)),
  $add: over('$add', undefined, addAll),
  $toLong: over('$toLong', 1, ([value]) => toLong(value)),
  $reduce: reduce
}
