import { Decimal128, Int32 } from 'bson'
import { CommandError, typeMismatch } from '../errors.js'
import { combine, fromBigInt, negate, toBigInt, toDecimal } from '../numbers.js'
import { isNullish, isNumeric, toNumber, typeName, type Numeric, type Value } from '../values.js'
import { arity, strict, variadic } from './operands.js'

const sum = (a: Numeric, b: Numeric): Numeric => combine('add', a, b) ?? toNumber(a) + toNumber(b)
const product = (a: Numeric, b: Numeric): Numeric => combine('multiply', a, b) ?? toNumber(a) * toNumber(b)

/** Adds what is numeric and ignores the rest, as the `$sum` accumulator does. */
export const sumOf = (values: (Value | undefined)[]): Numeric => values.filter(isNumeric).reduce<Numeric>(
  sum,
  new Int32(0)
)

export function averageOf (values: (Value | undefined)[]): Numeric | null {
  const numbers = values.filter(isNumeric)
  if (numbers.length === 0) return null
  const total = sumOf(numbers)
  return total instanceof Decimal128 ? toDecimal(toNumber(total) / numbers.length) : toNumber(total) / numbers.length
}

function numeric (value: Value, name: string): Numeric {
  if (isNumeric(value)) return value
  throw typeMismatch(`${name} only supports numeric types, not ${typeName(value)}`)
}

function add (values: (Value | undefined)[]): Value | undefined {
  if (values.some(isNullish)) return null
  const dates = values.filter(value => value instanceof Date)
  if (dates.length > 1) throw new CommandError(16612, 'only one date allowed in an $add expression')
  const total = values.filter(value => !(value instanceof Date)).reduce<Numeric>((so, value) => {
    if (!isNumeric(value)) throw typeMismatch(`$add only supports numeric or date types, not ${typeName(value)}`)
    return sum(so, value)
  }, new Int32(0))
  return dates[0] === undefined ? total : new Date(dates[0].getTime() + Math.round(toNumber(total)))
}

function subtract (a: Value, b: Value): Value {
  if (a instanceof Date && b instanceof Date) return BigInt(a.getTime() - b.getTime())
  if (a instanceof Date && isNumeric(b)) return new Date(a.getTime() - Math.round(toNumber(b)))
  if (!isNumeric(a) || !isNumeric(b)) throw typeMismatch(`can't $subtract ${typeName(b)} from ${typeName(a)}`)
  return sum(a, negate(b))
}

function divide (a: Value, b: Value): Value {
  if (!isNumeric(a) || !isNumeric(b)) {
    throw typeMismatch(`$divide only supports numeric types, not ${typeName(a)} and ${typeName(b)}`)
  }
  if (toNumber(b) === 0) throw new CommandError(2, "can't $divide by zero")
  const quotient = toNumber(a) / toNumber(b)
  return a instanceof Decimal128 || b instanceof Decimal128 ? toDecimal(quotient) : quotient
}

function modulo (a: Value, b: Value): Value {
  if (!isNumeric(a) || !isNumeric(b)) {
    throw typeMismatch(`$mod only supports numeric types, not ${typeName(a)} and ${typeName(b)}`)
  }
  if (toNumber(b) === 0) throw new CommandError(16610, "can't $mod by zero")
  if (typeof a === 'number' || typeof b === 'number' || a instanceof Decimal128 || b instanceof Decimal128) {
    const rest = toNumber(a) % toNumber(b)
    return a instanceof Decimal128 || b instanceof Decimal128 ? toDecimal(rest) : rest
  }
  return fromBigInt(toBigInt(a) % toBigInt(b), a instanceof Int32 && b instanceof Int32) ?? 0n
}

/** A function of one double whose result is a double; decimals stay decimals. */
const unary = (name: string, apply: (number: number) => number) => strict(1, 1, value => {
  const result = apply(toNumber(numeric(value, name)))
  return value instanceof Decimal128 ? toDecimal(result) : result
})

/** A function that leaves whole numbers and their type alone. */
const rounding = (name: string, apply: (number: number) => number) => strict(1, 1, value => {
  const number = numeric(value, name)
  if (typeof number === 'bigint' || number instanceof Int32) return number
  return number instanceof Decimal128 ? toDecimal(apply(toNumber(number))) : apply(number)
})

const places = (name: string, apply: (number: number) => number) => strict(1, 2, (value, digits = new Int32(0)) => {
  const number = numeric(value, name)
  const scale = toNumber(numeric(digits, name))
  if ((typeof number === 'bigint' || number instanceof Int32) && scale >= 0) return number
  const scaled = apply(Number(`${toNumber(number)}e${scale}`))
  const result = Number(`${scaled}e${-scale}`)
  if (number instanceof Decimal128) return toDecimal(result)
  return typeof number === 'number' ? result : fromBigInt(BigInt(result), number instanceof Int32)
})

function roundHalfEven (number: number): number {
  const floor = Math.floor(number)
  if (number - floor !== 0.5) return Math.round(number)
  return floor % 2 === 0 ? floor : floor + 1
}

function power (a: Value, b: Value): Value {
  const result = toNumber(numeric(a, '$pow')) ** toNumber(numeric(b, '$pow'))
  if (a instanceof Decimal128 || b instanceof Decimal128) return toDecimal(result)
  if (typeof a === 'number' || typeof b === 'number' || !Number.isSafeInteger(result)) return result
  return fromBigInt(BigInt(result), a instanceof Int32 && b instanceof Int32) ?? result
}

/** One operand that is an array gives its members, as in `{ $sum: '$scores' }`. */
const members = (values: (Value | undefined)[]): (Value | undefined)[] =>
  values.length === 1 && Array.isArray(values[0]) ? values[0] : values

export const arithmetic = {
  $add: variadic(add),
  $subtract: strict(2, 2, subtract),
  $multiply: variadic(values => values.some(isNullish)
    ? null
    : values.reduce<Numeric>((so, value) => product(so, numeric(value as Value, '$multiply')), new Int32(1))),
  $divide: strict(2, 2, divide),
  $mod: strict(2, 2, modulo),
  $pow: strict(2, 2, power),
  $abs: strict(1, 1, value => {
    const number = numeric(value, '$abs')
    return toNumber(number) < 0 ? negate(number) : number
  }),
  $ceil: rounding('$ceil', Math.ceil),
  $floor: rounding('$floor', Math.floor),
  $round: places('$round', roundHalfEven),
  $trunc: places('$trunc', Math.trunc),
  $sqrt: unary('$sqrt', Math.sqrt),
  $exp: unary('$exp', Math.exp),
  $ln: unary('$ln', Math.log),
  $log10: unary('$log10', Math.log10),
  $log: strict(2, 2, (value, base) =>
    Math.log(toNumber(numeric(value, '$log'))) / Math.log(toNumber(numeric(base, '$log')))),
  $sum: variadic(values => sumOf(members(values))),
  $avg: variadic(values => averageOf(members(values))),
  $rand: arity(0, 1, () => Math.random())
}
