import { Binary, BSONRegExp, Decimal128, Int32, ObjectId, Timestamp } from 'bson'

/** A BSON document: a Map, because plain objects reorder integer-like names. */
export type Doc = Map<string, Value>

class Undefined {}

/** Stands for an empty array in keys and sorts, where it comes before null. No client sends it. */
export const UNDEFINED = new Undefined()

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
  BSONRegExp | Timestamp | Undefined | RawDocument

export type Numeric = number | bigint | Int32 | Decimal128

export const isDoc = (value: Value | undefined): value is Doc => value instanceof Map

export const isNumeric = (value: Value | undefined): value is Numeric =>
  typeof value === 'number' || typeof value === 'bigint' || value instanceof Int32 || value instanceof Decimal128

export const isNullish = (value: Value | undefined): value is null | undefined => value === undefined || value === null

/** For each BSON type byte (bsonspec.org), its name and its place in the order of types (MongoDB manual). */
const types = new Map<number, { name: string, order: number }>([
  [6, { name: 'undefined', order: 5 }],
  [10, { name: 'null', order: 10 }],
  [1, { name: 'double', order: 15 }],
  [16, { name: 'int', order: 15 }],
  [18, { name: 'long', order: 15 }],
  [19, { name: 'decimal', order: 15 }],
  [2, { name: 'string', order: 20 }],
  [3, { name: 'object', order: 25 }],
  [4, { name: 'array', order: 30 }],
  [5, { name: 'binData', order: 35 }],
  [7, { name: 'objectId', order: 40 }],
  [8, { name: 'bool', order: 45 }],
  [9, { name: 'date', order: 50 }],
  [17, { name: 'timestamp', order: 55 }],
  [11, { name: 'regex', order: 60 }]
])

const classes = new Map<unknown, number>([
  [Map, 3], [RawDocument, 3], [Array, 4], [Binary, 5], [ObjectId, 7], [Date, 9], [BSONRegExp, 11], [Int32, 16],
  [Timestamp, 17], [Decimal128, 19]
])

/** The BSON type byte of a value. */
export function typeNumber (value: Value): number {
  switch (typeof value) {
    case 'number': return 1
    case 'bigint': return 18
    case 'string': return 2
    case 'boolean': return 8
  }
  return value === null ? 10 : classes.get(value.constructor) ?? 6
}

export const typeName = (value: Value | undefined): string => value === undefined
  ? 'missing'
  : types.get(typeNumber(value))?.name ?? ''

/** The place of a type in the order of types; undefined for a type that this server does not know. */
export const orderOfType = (type: number): number | undefined => types.get(type)?.order

export const orderOf = (value: Value): number => orderOfType(typeNumber(value)) ?? 0

export const typeNumberOf = (name: string): number | undefined =>
  [...types].find(([, type]) => type.name === name)?.[0]

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
