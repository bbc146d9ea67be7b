import { Binary, BSONRegExp, Decimal128, Int32, ObjectId, Timestamp } from 'bson'
import { badValue, CommandError } from './errors.js'
import type { Doc, Value } from './values.js'

/** MongoDB's own limit (`BSONDepth`). */
const MAX_DEPTH = 200

/** The bytes are not BSON: the connection cannot go on. */
export class MalformedBson extends Error {}

/**
 * Decodes one document (bsonspec.org) that begins at `offset`.
 * Throws MalformedBson for broken structure, CommandError 15 for nesting beyond 200 levels, BadValue for a type or a
 * date that this server does not keep.
 */
export function decode (buffer: Buffer, offset = 0): Doc {
  return new Reader(buffer, offset).document(1)
}

class Reader {
  readonly #buffer: Buffer
  #at: number
  #end: number

  constructor (buffer: Buffer, offset: number) {
    this.#buffer = buffer
    this.#at = offset
    this.#end = buffer.length
  }

  document (depth: number): Doc {
    const doc: Doc = new Map()
    this.#elements(depth, (name, value) => doc.set(name, value))
    return doc
  }

  #array (depth: number): Value[] {
    const items: Value[] = []
    this.#elements(depth, (_name, value) => items.push(value))
    return items
  }

  #elements (depth: number, add: (name: string, value: Value) => void): void {
    if (depth > MAX_DEPTH) throw new CommandError(15, `BSONObj exceeded maximum nested object depth: ${MAX_DEPTH}`)
    const start = this.#at
    const size = this.#int32()
    const outer = this.#end
    if (size < 5 || start + size > outer || this.#buffer[start + size - 1] !== 0) {
      throw new MalformedBson('bad document length')
    }
    this.#end = start + size - 1
    while (this.#at < this.#end) {
      const type = this.#byte()
      add(this.#cstring(), this.#value(type, depth))
    }
    this.#at = start + size
    this.#end = outer
  }

  #value (type: number, depth: number): Value {
    switch (type) {
      case 0x01: return this.#buffer.readDoubleLE(this.#take(8))
      case 0x02: return this.#string()
      case 0x03: return this.document(depth + 1)
      case 0x04: return this.#array(depth + 1)
      case 0x05: return this.#binary()
      case 0x07: return new ObjectId(this.#copy(12))
      case 0x08: return this.#boolean()
      case 0x09: return this.#date()
      case 0x0a: return null
      case 0x0b: return new BSONRegExp(this.#cstring(), this.#cstring())
      case 0x10: return new Int32(this.#int32())
      case 0x11: return new Timestamp(this.#buffer.readBigUInt64LE(this.#take(8)))
      case 0x12: return this.#buffer.readBigInt64LE(this.#take(8))
      case 0x13: return new Decimal128(this.#copy(16))
      default: throw badValue(`BSON type ${type} is not supported by this server`)
    }
  }

  #take (length: number): number {
    const at = this.#at
    if (length < 0 || at + length > this.#end) throw new MalformedBson('value beyond the end of its document')
    this.#at += length
    return at
  }

  #copy (length: number): Buffer {
    const at = this.#take(length)
    return Buffer.from(this.#buffer.subarray(at, at + length))
  }

  #byte (): number {
    return this.#buffer.readUInt8(this.#take(1))
  }

  #int32 (): number {
    return this.#buffer.readInt32LE(this.#take(4))
  }

  #cstring (): string {
    const stop = this.#buffer.indexOf(0, this.#at)
    if (stop < 0 || stop >= this.#end) throw new MalformedBson('unterminated name')
    const text = this.#buffer.toString('utf8', this.#at, stop)
    this.#at = stop + 1
    return text
  }

  #string (): string {
    const length = this.#int32()
    const at = this.#take(length)
    if (length < 1 || this.#buffer[at + length - 1] !== 0) throw new MalformedBson('unterminated string')
    return this.#buffer.toString('utf8', at, at + length - 1)
  }

  #boolean (): boolean {
    const byte = this.#byte()
    if (byte > 1) throw new MalformedBson('bad boolean')
    return byte === 1
  }

  #date (): Date {
    const date = new Date(Number(this.#buffer.readBigInt64LE(this.#take(8))))
    if (Number.isNaN(date.getTime())) throw badValue('a date beyond the year 275760 is not supported by this server')
    return date
  }

  #binary (): Binary {
    const length = this.#int32()
    const subType = this.#byte()
    return new Binary(this.#copy(length), subType)
  }
}
