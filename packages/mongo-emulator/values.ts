import { Binary, BSONRegExp, Decimal128, Int32, MaxKey, MinKey, ObjectId, Timestamp } from 'bson'

/** A BSON document: a Map, because plain objects reorder integer-like names. */
export type Doc = Map<string, Value>

/** A BSON value kept only as bytes: code, symbol, DBPointer, and dates beyond JavaScript's range. */
export class Opaque {
  readonly type: number
  readonly bytes: Uint8Array

  constructor (type: number, bytes: Uint8Array) {
    this.type = type
    this.bytes = bytes
  }
}

/** BSON's deprecated `undefined`; a field that is not there is JavaScript's. */
export class BsonUndefined {
  readonly _bsontype = 'Undefined'
}

export const UNDEFINED = new BsonUndefined()

/** A document that is already encoded, written into replies as it is. */
export class RawDocument {
  readonly bytes: Uint8Array

  constructor (bytes: Uint8Array) {
    this.bytes = bytes
  }
}

/**
 * One JavaScript representation for each BSON type, so that a round trip keeps types:
 * `number` is a double, `bigint` an int64, `Int32` an int32.
 */
export type Value =
  number | bigint | Int32 | Decimal128 | string | boolean | null | Doc | Value[] | Date | ObjectId | Binary |
  BSONRegExp | Timestamp | MinKey | MaxKey | BsonUndefined | Opaque | RawDocument

export type Numeric = number | bigint | Int32 | Decimal128

export const isDoc = (value: Value | undefined): value is Doc => value instanceof Map

export const isNumeric = (value: Value | undefined): value is Numeric =>
  typeof value === 'number' || typeof value === 'bigint' || value instanceof Int32 || value instanceof Decimal128

export const isNullish = (value: Value | undefined): value is null | undefined | BsonUndefined =>
  value === undefined || value === null || value instanceof BsonUndefined

/** The BSON type byte of a value (bsonspec.org); MinKey is 255 there and −1 in `$type`. */
export function typeNumber (value: Value): number {
  switch (typeof value) {
    case 'number': return 1
    case 'bigint': return 18
    case 'string': return 2
    case 'boolean': return 8
  }
  if (value === null) return 10
  if (value instanceof Map || value instanceof RawDocument) return 3
  if (Array.isArray(value)) return 4
  if (value instanceof ObjectId) return 7
  if (value instanceof Int32) return 16
  if (value instanceof Date) return 9
  if (value instanceof Binary) return 5
  if (value instanceof Decimal128) return 19
  if (value instanceof Timestamp) return 17
  if (value instanceof BSONRegExp) return 11
  if (value instanceof MinKey) return 255
  if (value instanceof MaxKey) return 127
  if (value instanceof Opaque) return value.type
  return 6
}

const names: Record<number, string> = {
  1: 'double',
  2: 'string',
  3: 'object',
  4: 'array',
  5: 'binData',
  6: 'undefined',
  7: 'objectId',
  8: 'bool',
  9: 'date',
  10: 'null',
  11: 'regex',
  12: 'dbPointer',
  13: 'javascript',
  14: 'symbol',
  15: 'javascriptWithScope',
  16: 'int',
  17: 'timestamp',
  18: 'long',
  19: 'decimal',
  127: 'maxKey',
  255: 'minKey'
}

export const typeName = (value: Value | undefined): string => value === undefined
  ? 'missing'
  : names[typeNumber(value)] ?? 'unknown'

export const typeNumbersByName = new Map(Object.entries(names).map(([number, name]) => [name, Number(number)]))

export type Plain = Value | undefined | Plain[] | { [name: string]: Plain }

const isPlainObject = (value: Plain): value is { [name: string]: Plain } =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype

/** Builds a document from a literal: whole numbers become int32 or int64, `undefined` is left out. */
export function toDoc (literal: { [name: string]: Plain }): Doc {
  const doc: Doc = new Map()
  for (const [name, value] of Object.entries(literal)) {
    if (value !== undefined) doc.set(name, toValue(value))
  }
  return doc
}

function toValue (value: Plain): Value {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return fromInteger(value)
  if (Array.isArray(value)) return value.map(toValue)
  if (isPlainObject(value)) return toDoc(value)
  return value as Value
}

export const fromInteger = (value: number): Int32 | bigint => (value | 0) === value ? new Int32(value) : BigInt(value)

/** Reads any BSON number as a JavaScript one, rounding what does not fit. */
export function toNumber (value: Numeric): number {
  if (typeof value === 'number') return value
  if (value instanceof Int32) return value.value
  return Number(value.toString())
}

export function cloneValue (value: Value): Value {
  if (Array.isArray(value)) return value.map(cloneValue)
  if (isDoc(value)) return cloneDoc(value)
  return value
}

export const cloneDoc = (doc: Doc): Doc => new Map([...doc].map(([name, value]) => [name, cloneValue(value)]))

/** Truth as expressions see it: false, null, undefined, missing and zero are false. */
export const isTruthy = (value: Value | undefined): boolean =>
  !isNullish(value) && value !== false && !(isNumeric(value) && toNumber(value) === 0)
