import { decode, MalformedBson } from './decode.js'
import { encode } from './encode.js'
import type { Doc, Value } from './values.js'

export const MAX_MESSAGE_BYTES = 48_000_000
const HEADER_BYTES = 16
const OP_REPLY = 1
const OP_QUERY = 2004
const OP_MSG = 2013
const MORE_TO_COME = 2
/** Flag bits that a receiver must understand; it may ignore the upper half. No client here sends a checksum. */
const REQUIRED_BITS = 0xffff

/** Bytes that are not the wire protocol: the connection they came on is closed. */
export class MalformedMessage extends Error {}

/** One request: its command, and whether the client waits for an answer. */
export interface Message { requestId: number, legacy: boolean, expectsReply: boolean, body: Doc }

/** Splits a byte stream into wire messages, whatever the packets. Throws MalformedMessage for an impossible length. */
export async function * readMessages (stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let chunks: Buffer[] = []
  let size = 0
  let needed = 4
  for await (const chunk of stream) {
    chunks.push(chunk)
    size += chunk.length
    while (size >= needed) {
      const buffer = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
      const length = buffer.readInt32LE(0)
      if (length < HEADER_BYTES || length > MAX_MESSAGE_BYTES) throw new MalformedMessage(`message length ${length}`)
      chunks = [buffer]
      needed = length
      if (size < length) break
      yield buffer.subarray(0, length)
      chunks = [buffer.subarray(length)]
      size -= length
      needed = 4
    }
  }
}

/**
 * Parses OP_MSG, and OP_QUERY on `$cmd` for the first hello (MongoDB Wire Protocol). Throws MalformedMessage or
 * MalformedBson.
 */
export function parseMessage (bytes: Buffer): Message {
  const requestId = bytes.readInt32LE(4)
  const opCode = bytes.readInt32LE(12)
  try {
    if (opCode === OP_MSG) return parseMsg(bytes, requestId)
    if (opCode === OP_QUERY) return parseQuery(bytes, requestId)
  } catch (error) {
    throw error instanceof RangeError ? new MalformedMessage('truncated message') : error
  }
  throw new MalformedMessage(`unsupported opcode ${opCode}`)
}

function parseMsg (bytes: Buffer, requestId: number): Message {
  const flags = bytes.readUInt32LE(HEADER_BYTES)
  if ((flags & REQUIRED_BITS & ~MORE_TO_COME) !== 0) throw new MalformedMessage(`unknown flags ${flags}`)
  return {
    requestId,
    legacy: false,
    expectsReply: (flags & MORE_TO_COME) === 0,
    body: sections(bytes, HEADER_BYTES + 4)
  }
}

function sections (bytes: Buffer, start: number): Doc {
  let body: Doc | undefined
  const sequences: [string, Value[]][] = []
  let at = start
  while (at < bytes.length) {
    const kind = bytes.readUInt8(at)
    const size = bytes.readInt32LE(at + 1)
    const end = at + 1 + size
    if (size < 5 || end > bytes.length) throw new MalformedMessage(`section of ${size} bytes`)
    if (kind === 0 && body === undefined) body = decode(bytes.subarray(at + 1, end))
    else if (kind === 1) sequences.push(documentSequence(bytes.subarray(at + 5, end)))
    else throw new MalformedMessage(`section of kind ${kind}`)
    at = end
  }
  if (body === undefined) throw new MalformedMessage('no body section')
  for (const [name, documents] of sequences) {
    if (body.has(name)) throw new MalformedMessage(`duplicate section ${name}`)
    body.set(name, documents)
  }
  return body
}

function documentSequence (bytes: Buffer): [string, Value[]] {
  const nul = bytes.indexOf(0)
  if (nul < 0) throw new MalformedMessage('unterminated sequence name')
  const documents: Value[] = []
  for (let at = nul + 1; at < bytes.length;) {
    const size = bytes.readInt32LE(at)
    if (size < 5 || at + size > bytes.length) throw new MalformedBson('bad document length')
    documents.push(decode(bytes.subarray(at, at + size)))
    at += size
  }
  return [bytes.toString('utf8', 0, nul), documents]
}

function parseQuery (bytes: Buffer, requestId: number): Message {
  const nameEnd = bytes.indexOf(0, HEADER_BYTES + 4)
  if (nameEnd < 0) throw new MalformedMessage('unterminated collection name')
  const name = bytes.toString('utf8', HEADER_BYTES + 4, nameEnd)
  if (!name.endsWith('.$cmd')) throw new MalformedMessage(`OP_QUERY on ${name}`)
  const body = decode(bytes, nameEnd + 9)
  body.set('$db', name.slice(0, -'.$cmd'.length))
  return { requestId, legacy: true, expectsReply: true, body }
}

let lastRequestId = 0

/** Encodes the answer to a message, in the form it came in. */
export function encodeReply ({ requestId, legacy }: Pick<Message, 'requestId' | 'legacy'>, reply: Doc): Buffer {
  const document = encode(reply)
  const head = Buffer.alloc(legacy ? HEADER_BYTES + 20 : HEADER_BYTES + 5)
  lastRequestId = (lastRequestId + 1) & 0x7fffffff
  head.writeInt32LE(head.length + document.length, 0)
  head.writeInt32LE(lastRequestId, 4)
  head.writeInt32LE(requestId, 8)
  head.writeInt32LE(legacy ? OP_REPLY : OP_MSG, 12)
  if (legacy) {
    head.writeInt32LE(8, HEADER_BYTES)
    head.writeInt32LE(1, HEADER_BYTES + 16)
  }
  return Buffer.concat([head, document])
}
