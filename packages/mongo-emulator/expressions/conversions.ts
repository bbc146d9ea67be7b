import { Binary, Decimal128, Int32, ObjectId, Timestamp } from 'bson'
import { CommandError } from '../errors.js'
import { fromBigInt, toDecimal } from '../numbers.js'
import { isNullish, isNumeric, toNumber, typeName, typeNumbersByName, type Numeric, type Value } from '../values.js'
import { arity, named } from './operands.js'

const failure = (value: Value, target: string, why = ''): CommandError =>
  new CommandError(
    241,
    `Unsupported conversion from ${typeName(value)} to ${target} in $convert with no onError value${why}`
  )

/** The text MongoDB's `$toString` gives a value. */
export function asText (value: Value): string {
  if (typeof value === 'string') return value
  if (value instanceof Date) return value.toISOString()
  if (value instanceof ObjectId) return value.toHexString()
  if (value instanceof Binary && value.sub_type === 4) return value.toUUID().toString()
  if (isNumeric(value) || typeof value === 'boolean') return String(value)
  throw failure(value, 'string')
}

function asNumber (value: Value, target: string): Numeric {
  if (isNumeric(value)) return value
  if (typeof value === 'boolean') return new Int32(value ? 1 : 0)
  if (value instanceof Date) return BigInt(value.getTime())
  if (typeof value === 'string' && /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(value)) {
    return target === 'decimal'
      ? Decimal128.fromString(value)
      : /^[+-]?\d+$/.test(value) ? BigInt(value) : Number(value)
  }
  if (typeof value === 'string') {
    throw new CommandError(241, `Failed to parse number '${value}' in $convert with no onError value`)
  }
  throw failure(value, target)
}

function asInteger (value: Value, target: 'int' | 'long'): Value {
  const number = asNumber(value, target)
  if (typeof value === 'string' && typeof number === 'number') {
    throw new CommandError(241, `Failed to parse number '${value}' in $convert with no onError value`)
  }
  const whole = typeof number === 'bigint'
    ? number
    : Number.isFinite(toNumber(number)) ? BigInt(Math.trunc(toNumber(number))) : undefined
  const result = whole === undefined ? undefined : fromBigInt(whole, target === 'int')
  if (result === undefined || (target === 'int' && !(result instanceof Int32))) {
    throw new CommandError(
      241,
      `Conversion would overflow target type in $convert with no onError value: ${String(value)}`
    )
  }
  return result
}

function asDate (value: Value): Date {
  if (value instanceof Date) return value
  if (value instanceof ObjectId) return value.getTimestamp()
  if (value instanceof Timestamp) return new Date(value.t * 1000)
  const date = typeof value === 'string'
    ? new Date(/\d$/.test(value) && value.includes('T') ? `${value}Z` : value)
    : isNumeric(value) && !(value instanceof Int32) ? new Date(Math.trunc(toNumber(value))) : undefined
  if (date === undefined) throw failure(value, 'date')
  if (Number.isNaN(date.getTime())) {
    throw new CommandError(241, `Error parsing date string '${String(value)}' in $convert with no onError value`)
  }
  return date
}

function asObjectId (value: Value): ObjectId {
  if (value instanceof ObjectId) return value
  if (typeof value !== 'string') throw failure(value, 'objectId')
  if (!/^[0-9a-f]{24}$/i.test(value)) {
    throw new CommandError(241, `Failed to parse objectId '${value}' in $convert with no onError value`)
  }
  return ObjectId.createFromHexString(value)
}

const targets: Record<string, (value: Value) => Value> = {
  double: value => toNumber(asNumber(value, 'double')),
  string: asText,
  objectId: asObjectId,
  bool: value => isNumeric(value) ? toNumber(value) !== 0 : value !== false,
  date: asDate,
  int: value => asInteger(value, 'int'),
  long: value => asInteger(value, 'long'),
  decimal: value => toDecimal(asNumber(value, 'decimal'))
}

const names = new Map([...typeNumbersByName].map(([name, number]) => [number, name]))

const to = (target: string) => arity(1, 1, value => isNullish(value) ? null : targets[target]?.(value))

export const conversions = {
  $toDouble: to('double'),
  $toString: to('string'),
  $toObjectId: to('objectId'),
  $toBool: to('bool'),
  $toDate: to('date'),
  $toInt: to('int'),
  $toLong: to('long'),
  $toDecimal: to('decimal'),
  $type: arity(1, 1, value => typeName(value)),
  $isNumber: arity(1, 1, value => isNumeric(value)),
  $convert: named(['input', 'to'], ['onError', 'onNull'], (fields, compile) => {
    const input = compile(fields.get('input') ?? null)
    const wanted = compile(fields.get('to') ?? null)
    const onNull = compile(fields.get('onNull') ?? null)
    const onError = fields.has('onError') ? compile(fields.get('onError') ?? null) : undefined
    return scope => {
      const value = input(scope)
      if (isNullish(value)) return onNull(scope)
      const type = wanted(scope)
      const convert = targets[isNumeric(type) ? names.get(toNumber(type)) ?? '' : String(type)]
      if (convert === undefined) throw new CommandError(2, `Unknown type name: ${String(type)}`)
      try {
        return convert(value)
      } catch (error) {
        if (onError === undefined) throw error
        return onError(scope)
      }
    }
  })
}
