import { Binary, BSONRegExp, ObjectId, Timestamp } from 'bson'
import { compareNumbers } from './numbers.js'
import { isDoc, isNumeric, Opaque, typeNumber, type Doc, type Value } from './values.js'

/** The place of each BSON type byte in the order of types (MongoDB manual, "Comparison/Sort Order"). */
const canonical = new Map<number, number>([
  [255, 0],
  [6, 5],
  [10, 10],
  [1, 15],
  [16, 15],
  [18, 15],
  [19, 15],
  [2, 20],
  [14, 62],
  [3, 25],
  [4, 30],
  [5, 35],
  [7, 40],
  [8, 45],
  [9, 50], [17, 55], [11, 60], [12, 65], [13, 70], [15, 75], [127, 100]
])

export const canonicalType = (type: number): number => canonical.get(type) ?? 99

export function bracketOf (value: Value): number {
  if (typeof value === 'string') return 20
  if (isNumeric(value)) return 15
  return canonicalType(typeNumber(value))
}

/** Orders any two values as MongoDB sorts them. Numbers of different types that are equal compare as equal. */
export function compareValues (a: Value, b: Value): number {
  const bracket = bracketOf(a)
  const other = bracketOf(b)
  if (bracket !== other) return bracket < other ? -1 : 1
  if (isNumeric(a) && isNumeric(b)) return compareNumbers(a, b)
  if (typeof a === 'string' && typeof b === 'string') return compareStrings(a, b)
  if (isDoc(a) && isDoc(b)) return compareDocs(a, b)
  if (Array.isArray(a) && Array.isArray(b)) return compareArrays(a, b)
  return compareScalars(a, b)
}

function compareScalars (a: Value, b: Value): number {
  if (a instanceof ObjectId && b instanceof ObjectId) return Buffer.compare(a.id, b.id)
  if (a instanceof Date && b instanceof Date) return Math.sign(a.getTime() - b.getTime())
  if (typeof a === 'boolean' && typeof b === 'boolean') return Number(a) - Number(b)
  if (a instanceof Timestamp && b instanceof Timestamp) return a.compare(b)
  if (a instanceof Binary && b instanceof Binary) {
    return a.position - b.position || a.sub_type - b.sub_type ||
      Buffer.compare(a.buffer.subarray(0, a.position), b.buffer.subarray(0, b.position))
  }
  if (a instanceof BSONRegExp && b instanceof BSONRegExp) {
    return compareStrings(a.pattern, b.pattern) || compareStrings(a.options, b.options)
  }
  return Buffer.compare(opaqueBytes(a), opaqueBytes(b))
}

/** Bytes that sort like the values: dates, also beyond JavaScript's range, and code by its text. */
export function opaqueBytes (value: Value): Uint8Array {
  if (value instanceof Opaque && value.type === 9) return dateBytes(Buffer.from(value.bytes).readBigInt64LE())
  if (value instanceof Date) return dateBytes(BigInt(value.getTime()))
  if (value instanceof Opaque) return value.bytes
  if (typeof value === 'string') return Buffer.from(value)
  return Buffer.alloc(0)
}

export function dateBytes (milliseconds: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigUInt64BE(BigInt.asUintN(64, milliseconds) ^ (1n << 63n))
  return bytes
}

/** Strings compare by their UTF-8 bytes, which differs from UTF-16 only where surrogates meet U+E000–U+FFFF. */
export function compareStrings (a: string, b: string): number {
  if (a === b) return 0
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at++) {
    const x = a.charCodeAt(at)
    const y = b.charCodeAt(at)
    if (x !== y) {
      return isSurrogate(x) === isSurrogate(y)
        ? x - y
        : isSurrogate(x) ? (y >= 0xe000 ? 1 : x - y) : (x >= 0xe000 ? -1 : x - y)
    }
  }
  return a.length - b.length
}

const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff

function compareDocs (a: Doc, b: Doc): number {
  const right = b.entries()
  for (const [name, value] of a) {
    const next = right.next()
    if (next.done === true) return 1
    const [otherName, otherValue] = next.value
    const order =
      bracketOf(value) - bracketOf(otherValue) || compareStrings(name, otherName) || compareValues(value, otherValue)
    if (order !== 0) return order
  }
  return right.next().done === true ? 0 : -1
}

function compareArrays (a: Value[], b: Value[]): number {
  for (const [at, value] of a.entries()) {
    const other = b[at]
    if (other === undefined) return 1
    const order = compareValues(value, other)
    if (order !== 0) return order
  }
  return a.length - b.length
}

export const equalValues = (a: Value, b: Value): boolean => compareValues(a, b) === 0
