import { Binary, BSONRegExp, ObjectId, Timestamp } from 'bson'
import { isDoc, isNumeric, orderOf, toNumber, type Numeric, type Value } from './values.js'

/** LMDB takes keys of 1978 bytes; this leaves room for the index number before and the record number after. */
const MAX_KEY_BYTES = 1900

/** Type marks are spaced places in the order of types, so no byte 0xFF and no byte 0x00 begins a component. */
const mark = (order: number): number => 1 + 2 * order

/** An encoded key. `exact` is false when it was cut off: equal bytes then need not mean equal values. */
export interface EncodedKey { bytes: Buffer, exact: boolean }

/**
 * Encodes values so that the bytes sort as MongoDB sorts the values. A descending component has its bytes inverted.
 * Every component has its own end, so a shorter key is never taken for the beginning of another value.
 */
export function encodeKey (values: Value[], descending: boolean[]): EncodedKey {
  const bytes = Buffer.concat(values.map((value, at) => {
    const component = encodeComponent(value)
    return descending[at] === true ? invert(component) : component
  }))
  const [kept, isCut] = cut(bytes)
  return { bytes: kept, exact: !isCut }
}

/** Cuts what is longer than a key may be; true when something was lost. */
export const cut = (bytes: Buffer): [Buffer, boolean] =>
  bytes.length <= MAX_KEY_BYTES ? [bytes, false] : [bytes.subarray(0, MAX_KEY_BYTES), true]

export function invert (bytes: Buffer): Buffer {
  const inverted = Buffer.allocUnsafe(bytes.length)
  for (let at = 0; at < bytes.length; at++) inverted[at] = ~(bytes[at] ?? 0)
  return inverted
}

/** One value as bytes that sort as it does: its type, its content. What is longer than a key is not complete. */
export function encodeComponent (value: Value): Buffer {
  const parts: Buffer[] = []
  putValue(parts, value)
  return Buffer.concat(parts)
}

/** The bounds of all values of a place in the order of types: from the first (inclusive) to the second (exclusive). */
export const typeBounds = (order: number): [Buffer, Buffer] => [Buffer.of(mark(order)), Buffer.of(mark(order) + 1)]

function putValue (parts: Buffer[], value: Value): void {
  parts.push(Buffer.of(mark(orderOf(value))))
  putContent(parts, value)
}

function putContent (parts: Buffer[], value: Value): void {
  if (typeof value === 'string') putText(parts, value)
  else if (isNumeric(value)) putNumber(parts, value)
  else if (isDoc(value)) putDocument(parts, value)
  else if (Array.isArray(value)) putArray(parts, value)
  else if (value instanceof ObjectId) parts.push(Buffer.from(value.id))
  else if (value instanceof Date) parts.push(integerBytes(BigInt(value.getTime())))
  else if (typeof value === 'boolean') parts.push(Buffer.of(value ? 2 : 1))
  else if (value instanceof Timestamp) parts.push(unsignedBytes(value.toBigInt()))
  else if (value instanceof Binary) putBinary(parts, value)
  else if (value instanceof BSONRegExp) {
    putText(parts, value.pattern)
    putText(parts, value.options)
  } else putText(parts, '')
}

function putDocument (parts: Buffer[], doc: Map<string, Value>): void {
  for (const [name, value] of doc) {
    parts.push(Buffer.of(mark(orderOf(value))))
    putText(parts, name)
    putContent(parts, value)
  }
  parts.push(Buffer.of(0))
}

function putArray (parts: Buffer[], items: Value[]): void {
  for (const item of items) putValue(parts, item)
  parts.push(Buffer.of(0))
}

function putBinary (parts: Buffer[], value: Binary): void {
  const head = Buffer.allocUnsafe(5)
  head.writeUInt32BE(value.position)
  head[4] = value.sub_type
  parts.push(head, Buffer.from(value.value().subarray(0, MAX_KEY_BYTES + 1)))
}

/** NUL bytes are escaped as 00 FF, and 00 01 ends the text, so a prefix sorts before what it begins. */
function putText (parts: Buffer[], text: string): void {
  const bytes = Buffer.from(text).subarray(0, MAX_KEY_BYTES + 1)
  const escaped = bytes.includes(0) ? Buffer.from(bytes.toString('latin1').replaceAll('\0', '\0\xff'), 'latin1') : bytes
  parts.push(escaped, Buffer.of(0x00, 0x01))
}

/** The nearest double, then what an int64 has beyond it: nothing (0x80), or its sign and size. */
function putNumber (parts: Buffer[], value: Numeric): void {
  const nearest = toNumber(value)
  const beyond = typeof value === 'bigint' ? Number(value - BigInt(nearest)) : 0
  parts.push(doubleBytes(nearest))
  if (beyond === 0) parts.push(Buffer.of(0x80))
  else parts.push(Buffer.of(beyond < 0 ? 0x7f : 0x81), doubleBytes(beyond), doubleBytes(0))
}

/** IEEE 754 bytes that order as the numbers do; −0 as 0, NaN below everything. */
function doubleBytes (value: number): Buffer {
  const bytes = Buffer.alloc(8)
  if (Number.isNaN(value)) return bytes
  bytes.writeDoubleBE(value === 0 ? 0 : value)
  if (value < 0) return invert(bytes)
  bytes[0]! ^= 0x80
  return bytes
}

/** An int64 in bytes that order as the numbers do. */
function integerBytes (value: bigint): Buffer {
  return unsignedBytes(value ^ (1n << 63n))
}

function unsignedBytes (value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigUInt64BE(BigInt.asUintN(64, value))
  return bytes
}
