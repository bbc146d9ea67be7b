import { Decimal128, Int32 } from 'bson'
import { toNumber, type Numeric } from './values.js'

const INT64_MAX = 9_223_372_036_854_775_807n
const INT64_MIN = -9_223_372_036_854_775_808n
const DECIMAL_DIGITS = 34

interface Fraction { numerator: bigint, denominator: bigint }
interface Scaled { coefficient: bigint, exponent: number }

/** Orders numbers of any BSON types by their exact values; NaN equals itself and is below all others. */
export function compareNumbers (a: Numeric, b: Numeric): number {
  if (a instanceof Decimal128 || b instanceof Decimal128) return compareExactly(a, b)
  const x = a instanceof Int32 ? a.value : a
  const y = b instanceof Int32 ? b.value : b
  if (x < y) return -1
  if (x > y) return 1
  return Number(Number.isNaN(y)) - Number(Number.isNaN(x))
}

function compareExactly (a: Numeric, b: Numeric): number {
  const x = toFraction(a)
  const y = toFraction(b)
  if (x === undefined || y === undefined) return compareNumbers(special(a, x), special(b, y))
  const left = x.numerator * y.denominator
  const right = y.numerator * x.denominator
  return left < right ? -1 : left > right ? 1 : 0
}

/** A number that stands for a finite value next to NaN and the infinities. */
const special = (value: Numeric, fraction: Fraction | undefined): number => fraction === undefined ? toNumber(value) : 0

/** The exact value as a fraction; undefined for NaN and the infinities. */
export function toFraction (value: Numeric): Fraction | undefined {
  if (value instanceof Decimal128) {
    const scaled = toScaled(value)
    if (scaled === undefined) return undefined
    const { coefficient, exponent } = scaled
    return exponent >= 0
      ? { numerator: coefficient * 10n ** BigInt(exponent), denominator: 1n }
      : { numerator: coefficient, denominator: 10n ** BigInt(-exponent) }
  }
  if (value instanceof Int32) return { numerator: BigInt(value.value), denominator: 1n }
  if (typeof value === 'bigint') return { numerator: value, denominator: 1n }
  return doubleToFraction(value)
}

function doubleToFraction (value: number): Fraction | undefined {
  if (!Number.isFinite(value)) return undefined
  let denominator = 1n
  let scaled = value
  while (!Number.isInteger(scaled)) {
    scaled *= 2
    denominator *= 2n
  }
  return { numerator: BigInt(scaled), denominator }
}

/** A decimal as coefficient × 10^exponent; undefined for NaN and the infinities. */
export function toScaled (value: Decimal128): Scaled | undefined {
  const parts = /^(-?)(\d+)(?:\.(\d+))?(?:E([+-]?\d+))?$/.exec(value.toString())
  if (parts === null) return undefined
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = parts
  return { coefficient: BigInt(sign + whole + fraction), exponent: Number(exponent) - fraction.length }
}

export function toDecimal (value: Numeric): Decimal128 {
  if (value instanceof Decimal128) return value
  if (value instanceof Int32 || typeof value === 'bigint') return Decimal128.fromString(value.toString())
  if (Number.isNaN(value)) return Decimal128.fromString('NaN')
  if (!Number.isFinite(value)) return Decimal128.fromString(value > 0 ? 'Infinity' : '-Infinity')
  return Decimal128.fromString(String(Number(value.toPrecision(15))))
}

function fromScaled ({ coefficient, exponent }: Scaled): Decimal128 {
  const negative = coefficient < 0n
  let digits = negative ? -coefficient : coefficient
  const excess = digits.toString().length - DECIMAL_DIGITS
  if (excess > 0) {
    const unit = 10n ** BigInt(excess)
    const rest = digits % unit
    digits /= unit
    if (rest * 2n > unit || (rest * 2n === unit && digits % 2n === 1n)) digits += 1n
    exponent += excess
  }
  return Decimal128.fromString(`${negative ? '-' : ''}${digits}E${exponent}`)
}

/**
 * Adds or multiplies as MongoDB does: the widest type of the two wins, an int32 that overflows becomes an int64.
 * An int64 that overflows is `undefined`: `$inc` calls it an error, an expression goes on with a double.
 */
export function combine (operation: 'add' | 'multiply', a: Numeric, b: Numeric): Numeric | undefined {
  if (a instanceof Decimal128 || b instanceof Decimal128) return combineDecimals(operation, toDecimal(a), toDecimal(b))
  if (typeof a === 'number' || typeof b === 'number') {
    return operation === 'add' ? toNumber(a) + toNumber(b) : toNumber(a) * toNumber(b)
  }
  const [x, y] = [toBigInt(a), toBigInt(b)]
  return fromBigInt(operation === 'add' ? x + y : x * y, a instanceof Int32 && b instanceof Int32)
}

function combineDecimals (operation: 'add' | 'multiply', a: Decimal128, b: Decimal128): Decimal128 {
  const [x, y] = [toScaled(a), toScaled(b)]
  if (x === undefined || y === undefined) {
    return toDecimal(operation === 'add' ? toNumber(a) + toNumber(b) : toNumber(a) * toNumber(b))
  }
  if (operation === 'multiply') {
    return fromScaled({ coefficient: x.coefficient * y.coefficient, exponent: x.exponent + y.exponent })
  }
  const exponent = Math.min(x.exponent, y.exponent)
  const align = (scaled: Scaled) => scaled.coefficient * 10n ** BigInt(scaled.exponent - exponent)
  return fromScaled({ coefficient: align(x) + align(y), exponent })
}

export const toBigInt = (value: bigint | Int32): bigint => typeof value === 'bigint' ? value : BigInt(value.value)

/** An integer in the narrowest type allowed; undefined beyond int64. */
export function fromBigInt (value: bigint, narrow: boolean): Int32 | bigint | undefined {
  if (value > INT64_MAX || value < INT64_MIN) return undefined
  return narrow && BigInt.asIntN(32, value) === value ? new Int32(Number(value)) : value
}

/** A whole number (of any numeric type) as a JavaScript integer; undefined when it is none, or too large. */
export function toSafeInteger (value: Numeric): number | undefined {
  const number = toNumber(value)
  return Number.isSafeInteger(number) ? number : undefined
}

export const negate = (value: Numeric): Numeric =>
  value instanceof Decimal128
    ? combineDecimals('multiply', value, Decimal128.fromString('-1'))
    : combine('multiply', value, new Int32(-1)) ?? -toNumber(value)
