import { Decimal128, Int32 } from 'bson'
import { badValue } from './errors.js'
import { toNumber, type Numeric } from './values.js'

const INT64_MAX = 9_223_372_036_854_775_807n
const INT64_MIN = -9_223_372_036_854_775_808n

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
function toScaled (value: Decimal128): Scaled | undefined {
  const parts = /^(-?)(\d+)(?:\.(\d+))?(?:E([+-]?\d+))?$/.exec(value.toString())
  if (parts === null) return undefined
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = parts
  return { coefficient: BigInt(sign + whole + fraction), exponent: Number(exponent) - fraction.length }
}

/**
 * Adds as MongoDB does: the wider type of the two wins, an int32 that overflows becomes an int64. An int64 that
 * overflows is `undefined`: `$inc` calls it an error, an expression goes on with a double.
 * Throws BadValue for decimals.
 */
export function add (a: Numeric, b: Numeric): Numeric | undefined {
  if (a instanceof Decimal128 || b instanceof Decimal128) {
    throw badValue('arithmetic with decimals is not supported by this server')
  }
  if (typeof a === 'number' || typeof b === 'number') return toNumber(a) + toNumber(b)
  const total = BigInt(a.toString()) + BigInt(b.toString())
  if (total > INT64_MAX || total < INT64_MIN) return undefined
  const narrow = a instanceof Int32 && b instanceof Int32 && BigInt.asIntN(32, total) === total
  return narrow ? new Int32(Number(total)) : total
}

/** A whole number (of any numeric type) as a JavaScript integer; undefined when it is none, or too large. */
export function toSafeInteger (value: Numeric): number | undefined {
  const number = toNumber(value)
  return Number.isSafeInteger(number) ? number : undefined
}
