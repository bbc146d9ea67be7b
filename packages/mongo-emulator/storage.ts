import { open, type Database, type RootDatabase } from 'lmdb'
import { checkDataFile, sealDataFile } from '../data-file/data-file.js'
import { lengthOf } from './iterate.js'

/** One of the ordered byte maps of the store. */
export type ByteMap = Database<Buffer, Buffer>

/** Half-open range of keys. */
export interface KeyRange { start: Buffer, end: Buffer }

const BINARY = { encoding: 'binary', keyEncoding: 'binary' } as const
const FIRST_CHUNK = 32
const LAST_CHUNK = 1024

/** The files of the emulator: documents, index entries, catalogue and sessions in one LMDB environment. */
export class Storage {
  readonly documents: ByteMap
  readonly indexes: ByteMap
  readonly catalog: ByteMap
  readonly sessions: ByteMap
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #path: string
  /** Whether the file is as it was when it was closed. */
  readonly isSealed: boolean

  /** Throws one clear sentence when the file is damaged. `isDurable` makes each transaction wait for the disk. */
  constructor (path: string, isDurable: boolean) {
    this.isSealed = checkDataFile(path).isSealed
    this.#path = path
    this.#root = open<Buffer, Buffer>({ path, maxDbs: 4, noSubdir: false, noSync: !isDurable, ...BINARY })
    const map = (name: string): ByteMap => this.#root.openDB<Buffer, Buffer>({ name, ...BINARY })
    this.documents = map('documents')
    this.indexes = map('indexes')
    this.catalog = map('catalog')
    this.sessions = map('sessions')
  }

  /** Runs `work` in one transaction. It is on disk on return, if durable; nothing of it stays when it throws. */
  transaction<T> (work: () => T): T {
    return this.#root.transactionSync(work)
  }

  async close (): Promise<void> {
    await this.#root.close()
    sealDataFile(this.#path)
  }
}

/**
 * Reads a range in chunks and holds no cursor between them, so that a reader may pause for as long as it likes
 * and writes may go on; what changes meanwhile may or may not be seen, as with MongoDB's own scans.
 */
export function * readKeys (map: ByteMap, { start, end }: KeyRange, reverse: boolean): Generator<Buffer> {
  let size = FIRST_CHUNK
  let last: Buffer | undefined
  while (true) {
    const keys = [...map.getKeys({ ...bounds(start, end, last, reverse), reverse, limit: size })]
    yield * keys
    if (keys.length < size) return
    last = keys.at(-1)
    size = Math.min(LAST_CHUNK, size * 2)
  }
}

const bounds = (start: Buffer, end: Buffer, last: Buffer | undefined, reverse: boolean) => reverse
  ? { start: last ?? end, exclusiveStart: true, end: start, inclusiveEnd: true }
  : { start: last ?? start, exclusiveStart: last !== undefined, end }

/** How many keys a range has, at most `limit`. The store's own count has no limit. */
export const countKeys = (map: ByteMap, range: KeyRange, limit = Infinity): number =>
  limit === Infinity
    ? map.getKeysCount({ start: range.start, end: range.end })
    : lengthOf(readKeys(map, range, false), limit)

export function removeRange (map: ByteMap, range: KeyRange): void {
  for (const key of readKeys(map, range, false)) map.removeSync(key)
}

export function prefixRange (prefix: Buffer): KeyRange {
  return { start: prefix, end: Buffer.concat([prefix, Buffer.of(0xff)]) }
}

export function uint32 (value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value)
  return bytes
}

const RECORD_BYTES = 6

export function recordBytes (record: number): Buffer {
  const bytes = Buffer.allocUnsafe(RECORD_BYTES)
  bytes.writeUIntBE(record, 0, RECORD_BYTES)
  return bytes
}

/** The record number a document's key or an index entry ends with. */
export const recordOf = (key: Buffer): number => key.readUIntBE(key.length - RECORD_BYTES, RECORD_BYTES)
