import { Decimal128, Int32 } from 'bson'
import { badValue } from './errors.js'
import { toNumber, type Numeric } from './values.js'

/** Orders numbers of any BSON types, decimals by the nearest double; NaN equals itself and is below all others. */
export function compareNumbers (a: Numeric, b: Numeric): number {
  const x = typeof a === 'bigint' ? a : toNumber(a)
  const y = typeof b === 'bigint' ? b : toNumber(b)
  if (x < y) return -1
  if (x > y) return 1
  return Number(Number.isNaN(y)) - Number(Number.isNaN(x))
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
  if (BigInt.asIntN(64, total) !== total) return undefined
  const narrow = a instanceof Int32 && b instanceof Int32 && BigInt.asIntN(32, total) === total
  return narrow ? new Int32(Number(total)) : total
}

/** A whole number (of any numeric type) as a JavaScript integer; undefined when it is none, or too large. */
export function toSafeInteger (value: Numeric): number | undefined {
  const number = toNumber(value)
  return Number.isSafeInteger(number) ? number : undefined
}
