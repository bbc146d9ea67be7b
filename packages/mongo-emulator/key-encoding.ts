import { Binary, BSONRegExp, Int32, ObjectId, Timestamp } from 'bson'
import { bracketOf, dateBytes, opaqueBytes } from './compare.js'
import { toFraction } from './numbers.js'
import { isDoc, isNumeric, Opaque, toNumber, type Numeric, type Value } from './values.js'

/** LMDB takes keys of 1978 bytes; this leaves room for the index number before and the record number after. */
const MAX_KEY_BYTES = 1900

/** Type marks are spaced bracket numbers, so no byte 0xFF and no byte 0x00 begins a component. */
const mark = (bracket: number): number => 1 + 2 * bracket

/** An encoded key. `exact` is false when it was cut off or rounded: equal bytes then need not mean equal values. */
export interface EncodedKey { bytes: Buffer, exact: boolean }

/**
 * Encodes values so that the bytes sort as MongoDB sorts the values. A descending component has its bytes inverted.
 * Every component has its own end, so a shorter key is never taken for the beginning of another value.
 */
export function encodeKey (values: Value[], descending: boolean[]): EncodedKey {
  const parts: Buffer[] = []
  let exact = true
  let length = 0
  for (const [at, value] of values.entries()) {
    const component = encodeComponent(value)
    if (!component.exact) exact = false
    length += component.bytes.length
    parts.push(descending[at] === true ? invert(component.bytes) : component.bytes)
  }
  if (length <= MAX_KEY_BYTES) return { bytes: Buffer.concat(parts), exact }
  return { bytes: Buffer.concat(parts).subarray(0, MAX_KEY_BYTES), exact: false }
}

/** Cuts a bound as keys are cut; true when something was lost. */
export const cutBound = (bytes: Buffer): [Buffer, boolean] =>
  bytes.length <= MAX_KEY_BYTES ? [bytes, false] : [bytes.subarray(0, MAX_KEY_BYTES), true]

export function invert (bytes: Buffer): Buffer {
  const inverted = Buffer.allocUnsafe(bytes.length)
  for (let at = 0; at < bytes.length; at++) inverted[at] = ~(bytes[at] ?? 0)
  return inverted
}

export function encodeComponent (value: Value): EncodedKey {
  const writer = new KeyWriter()
  writer.value(value)
  return writer.result()
}

/**
 * The bounds of all values of a type bracket, as component bytes: from the first (inclusive) to the second (exclusive).
 */
export const bracketBounds = (bracket: number): [
  Buffer, Buffer
] => [Buffer.of(mark(bracket)), Buffer.of(mark(bracket) + 1)]

class KeyWriter {
  readonly #parts: Buffer[] = []
  #length = 0
  #exact = true

  result (): EncodedKey {
    const bytes = Buffer.concat(this.#parts)
    return this.#length > MAX_KEY_BYTES
      ? { bytes: bytes.subarray(0, MAX_KEY_BYTES + 1), exact: false }
      : { bytes, exact: this.#exact }
  }

  value (value: Value): void {
    const bracket = bracketOf(value)
    this.#put(Buffer.of(mark(bracket)))
    this.#content(value)
  }

  #content (value: Value): void {
    if (typeof value === 'string') this.#text(Buffer.from(value))
    else if (isNumeric(value)) this.#number(value)
    else if (isDoc(value)) this.#document(value)
    else if (Array.isArray(value)) this.#array(value)
    else if (value instanceof ObjectId) this.#put(Buffer.from(value.id))
    else if (value instanceof Date) this.#put(dateBytes(BigInt(value.getTime())))
    else if (typeof value === 'boolean') this.#put(Buffer.of(value ? 2 : 1))
    else if (value instanceof Timestamp) this.#put(unsigned64(BigInt.asUintN(64, value.toBigInt())))
    else if (value instanceof Binary) this.#binary(value)
    else if (value instanceof BSONRegExp) {
      this.#text(Buffer.from(value.pattern))
      this.#text(Buffer.from(value.options))
    } else if (value instanceof Opaque && value.type === 9) this.#put(Buffer.from(opaqueBytes(value)))
    else this.#text(Buffer.from(opaqueBytes(value)))
  }

  #document (doc: Map<string, Value>): void {
    for (const [name, value] of doc) {
      if (this.#full()) return
      this.#put(Buffer.of(mark(bracketOf(value))))
      this.#text(Buffer.from(name))
      this.#content(value)
    }
    this.#put(Buffer.of(0))
  }

  #array (items: Value[]): void {
    for (const item of items) {
      if (this.#full()) return
      this.value(item)
    }
    this.#put(Buffer.of(0))
  }

  #binary (value: Binary): void {
    const head = Buffer.allocUnsafe(5)
    head.writeUInt32BE(value.position)
    head[4] = value.sub_type
    this.#put(head)
    this.#put(Buffer.from(value.buffer.subarray(0, Math.min(value.position, MAX_KEY_BYTES + 1))))
  }

  /** NUL bytes are escaped as 00 FF, and 00 01 ends the text, so a prefix sorts before what it begins. */
  #text (bytes: Buffer): void {
    let from = 0
    const kept = bytes.subarray(0, MAX_KEY_BYTES + 1)
    for (let nul = kept.indexOf(0); nul >= 0; nul = kept.indexOf(0, from)) {
      this.#put(kept.subarray(from, nul))
      this.#put(Buffer.of(0x00, 0xff))
      from = nul + 1
    }
    this.#put(kept.subarray(from))
    this.#put(Buffer.of(0x00, 0x01))
  }

  /**
   * The nearest double in sortable bytes, then what it missed: nothing (0x80), or a sign and two more doubles that
   * together tell apart any two decimals of 34 digits within the range of doubles. Beyond that range the key is
   * inexact.
   */
  #number (value: Numeric): void {
    const nearest = toNumber(value)
    if (!Number.isFinite(nearest) && isFiniteDecimal(value)) return this.#outOfRange(nearest > 0)
    this.#put(doubleBytes(nearest))
    if (typeof value === 'number' || value instanceof Int32 || !Number.isFinite(nearest)) this.#put(Buffer.of(0x80))
    else this.#residue(value, nearest)
  }

  #outOfRange (positive: boolean): void {
    this.#exact = false
    this.#put(doubleBytes(positive ? Number.MAX_VALUE : -Number.MAX_VALUE))
    this.#put(Buffer.of(positive ? 0x81 : 0x7f))
    this.#put(Buffer.alloc(16, positive ? 0xfe : 0x01))
  }

  #residue (value: Numeric, nearest: number): void {
    const exact = toFraction(value)
    const double = toFraction(nearest)
    if (exact === undefined || double === undefined) return
    const denominator = exact.denominator * double.denominator
    const missed = exact.numerator * double.denominator - double.numerator * exact.denominator
    if (missed === 0n) return this.#put(Buffer.of(0x80))
    const first = ratio(missed, denominator)
    const taken = toFraction(first) ?? { numerator: 0n, denominator: 1n }
    const second = ratio(missed * taken.denominator - taken.numerator * denominator, denominator * taken.denominator)
    if (first === 0) this.#exact = false
    this.#put(Buffer.of(missed < 0n ? 0x7f : 0x81))
    this.#put(doubleBytes(first))
    this.#put(doubleBytes(second))
  }

  #full (): boolean {
    return this.#length > MAX_KEY_BYTES
  }

  #put (bytes: Buffer): void {
    if (this.#full()) return
    this.#parts.push(bytes)
    this.#length += bytes.length
  }
}

const isFiniteDecimal = (value: Numeric): boolean => typeof value !== 'number' && toFraction(value) !== undefined

/** A quotient of large integers as the nearest double, up to the last bit; monotone in the numerator. */
function ratio (numerator: bigint, denominator: bigint): number {
  const negative = numerator < 0n
  const magnitude = negative ? -numerator : numerator
  if (magnitude === 0n) return 0
  const shift = denominator.toString(2).length - magnitude.toString(2).length + 64
  const quotient = shift >= 0 ? (magnitude << BigInt(shift)) / denominator : magnitude / (denominator << BigInt(-shift))
  const double = Number(quotient) * 2 ** Math.max(-shift, -1022) * (shift > 1022 ? 2 ** (1022 - shift) : 1)
  return negative ? -double : double
}

/** IEEE 754 bytes that order as the numbers do; −0 as 0, NaN below everything. */
function doubleBytes (value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8)
  if (Number.isNaN(value)) return bytes.fill(0)
  bytes.writeDoubleBE(value === 0 ? 0 : value)
  return (bytes[0] ?? 0) >= 0x80 ? invert(bytes) : flipSign(bytes)
}

function flipSign (bytes: Buffer): Buffer {
  bytes[0] = (bytes[0] ?? 0) ^ 0x80
  return bytes
}

function unsigned64 (value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}
