import { Binary, BSONRegExp, Decimal128, Int32, ObjectId, Timestamp } from 'bson'
import { CommandError } from './errors.js'
import { isDoc, RawDocument, typeNumber, type Doc, type Value } from './values.js'

const MAX_DEPTH = 200

/** Encodes a document (bsonspec.org). Throws CommandError 15 when it is nested beyond 200 levels. */
export function encode (doc: Doc): Buffer {
  const writer = new Writer()
  writer.elements(doc, 1)
  return writer.result()
}

class Writer {
  #buffer = Buffer.allocUnsafe(512)
  #at = 0

  result (): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#at))
  }

  elements (entries: Iterable<[string | number, Value]>, depth: number): void {
    if (depth > MAX_DEPTH) throw new CommandError(15, `BSONObj exceeded maximum nested object depth: ${MAX_DEPTH}`)
    const start = this.#reserve(4)
    for (const [name, value] of entries) {
      this.#byte(typeNumber(value))
      this.#cstring(String(name))
      this.#value(value, depth)
    }
    this.#byte(0)
    this.#buffer.writeInt32LE(this.#at - start, start)
  }

  #value (value: Value, depth: number): void {
    if (typeof value === 'string') this.#string(value)
    else if (typeof value === 'number') this.#double(value)
    else if (typeof value === 'bigint') this.#long(value)
    else if (typeof value === 'boolean') this.#byte(value ? 1 : 0)
    else if (isDoc(value)) this.elements(value, depth + 1)
    else if (Array.isArray(value)) this.elements(value.entries(), depth + 1)
    else if (value instanceof ObjectId) this.#bytes(value.id)
    else if (value instanceof Date) this.#long(BigInt(value.getTime()))
    else if (value instanceof Int32) this.#int(value.value)
    else this.#rare(value)
  }

  #rare (value: Value): void {
    if (value instanceof RawDocument || value instanceof Decimal128) this.#bytes(value.bytes)
    else if (value instanceof Timestamp) this.#long(BigInt.asIntN(64, value.toBigInt()))
    else if (value instanceof BSONRegExp) {
      this.#cstring(value.pattern)
      this.#cstring(value.options)
    } else if (value instanceof Binary) {
      this.#int(value.position)
      this.#byte(value.sub_type)
      this.#bytes(value.value())
    }
  }

  #string (text: string): void {
    const length = Buffer.byteLength(text) + 1
    const at = this.#reserve(4 + length)
    this.#buffer.writeInt32LE(length, at)
    this.#buffer.write(text, at + 4)
    this.#buffer[at + 3 + length] = 0
  }

  #cstring (text: string): void {
    const length = Buffer.byteLength(text)
    const at = this.#reserve(length + 1)
    this.#buffer.write(text, at)
    this.#buffer[at + length] = 0
  }

  #byte (byte: number): void {
    const at = this.#reserve(1)
    this.#buffer[at] = byte
  }

  #double (value: number): void {
    const at = this.#reserve(8)
    this.#buffer.writeDoubleLE(value, at)
  }

  #int (value: number): void {
    const at = this.#reserve(4)
    this.#buffer.writeInt32LE(value, at)
  }

  #long (value: bigint): void {
    const at = this.#reserve(8)
    this.#buffer.writeBigInt64LE(value, at)
  }

  #bytes (bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length)
    this.#buffer.set(bytes, at)
  }

  /** May move the buffer, so it comes before any access to the buffer. */
  #reserve (length: number): number {
    const at = this.#at
    this.#at += length
    if (this.#at > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#at, this.#buffer.length * 2))
      this.#buffer.copy(larger, 0, 0, at)
      this.#buffer = larger
    }
    return at
  }
}
