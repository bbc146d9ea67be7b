import { crc32 } from 'node:zlib'
import { namespaceOf, type Catalog, type Collection, type Index } from './catalog.js'
import { equalValues } from './compare.js'
import { checkDeadline } from './deadline.js'
import { decode } from './decode.js'
import { describe } from './describe.js'
import { encode } from './encode.js'
import { CommandError } from './errors.js'
import { indexValues } from './index-keys.js'
import { encodeKey } from './key-encoding.js'
import { matches } from './match.js'
import { countKeys, prefixRange, readKeys, recordBytes, recordOf, uint32, type Storage } from './storage.js'
import { type Doc, type Value } from './values.js'

const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024

/** A stored document: `raw` is exactly what was stored, `doc` a fresh copy that may be changed. */
export interface StoredRecord { record: number, raw: Buffer, doc: Doc }

interface Entry { key: Buffer, values: Value[], exact: boolean }

/** Documents of a collection and their index entries. Every change keeps both in step. */
export class Records {
  readonly #storage: Storage
  readonly #catalog: Catalog

  constructor (storage: Storage, catalog: Catalog) {
    this.#storage = storage
    this.#catalog = catalog
  }

  read (collection: Collection, record: number): StoredRecord | undefined {
    const stored = this.#storage.documents.get(documentKey(collection, record))
    if (stored === undefined) return undefined
    const raw = unsealed(stored)
    return { record, raw, doc: decode(raw) }
  }

  /** Throws unless every document is whole, and has its entries in each index, and nothing else is there. */
  check (): void {
    for (const collection of this.#catalog.all()) {
      const { documents, indexes } = this.#storage
      const expected = collection.indexes.map(() => 0)
      for (const key of readKeys(documents, prefixRange(uint32(collection.id)), false)) {
        const record = recordOf(key)
        const doc = this.read(collection, record)?.doc ?? new Map<string, Value>()
        for (const [at, index] of collection.indexes.entries()) {
          const entries = this.#entries(index, doc)
          expected[at]! += entries.length
          if (!entries.every(({ key }) => indexes.doesExist(entryKey(index, key, record)))) throw new Error(index.name)
        }
      }
      const isWhole = countKeys(documents, prefixRange(uint32(collection.id))) === collection.count &&
        collection.indexes.every(({ id }, at) => countKeys(indexes, prefixRange(uint32(id))) === expected[at])
      if (!isWhole) throw new Error(namespaceOf(collection))
    }
  }

  /** Stores a new document. Throws CommandError 11000 when a unique index has its key, 10334 when it is too large. */
  insert (collection: Collection, doc: Doc): void {
    const raw = encodeChecked(doc)
    const record = collection.nextRecord
    const entries = collection.indexes.map(index => ({ index, added: this.#entries(index, doc) }))
    for (const { index, added } of entries) this.#checkUnique(collection, index, added, record)
    collection.nextRecord++
    collection.count++
    this.#storage.documents.putSync(documentKey(collection, record), sealed(raw))
    for (const { index, added } of entries) this.#put(index, added, record)
    this.#catalog.changed(collection)
  }

  /** Replaces a document by its successor; false when the two are the same, byte for byte. */
  replace (collection: Collection, { record, raw: before }: StoredRecord, successor: Doc): boolean {
    const raw = encodeChecked(successor)
    if (raw.equals(before)) return false
    const old = decode(before)
    const changes = collection.indexes.map(index => ({
      index,
      removed: this.#entries(index, old),
      added: this.#entries(index, successor)
    }))
    for (const { index, added } of changes) this.#checkUnique(collection, index, added, record)
    this.#storage.documents.putSync(documentKey(collection, record), sealed(raw))
    for (const { index, removed, added } of changes) {
      const kept = new Set(added.map(({ key }) => key.toString('latin1')))
      this.#remove(index, removed.filter(({ key }) => !kept.has(key.toString('latin1'))), record)
      this.#put(index, added, record)
    }
    this.#catalog.changed(collection)
    return true
  }

  remove (collection: Collection, { record, raw }: StoredRecord): void {
    const doc = decode(raw)
    for (const index of collection.indexes) this.#remove(index, this.#entries(index, doc), record)
    this.#storage.documents.removeSync(documentKey(collection, record))
    collection.count--
    this.#catalog.changed(collection)
  }

  /** Adds every document of the collection to a new index. Throws CommandError 11000 for duplicates. */
  buildIndex (collection: Collection, index: Index): void {
    for (const key of readKeys(this.#storage.documents, prefixRange(uint32(collection.id)), false)) {
      checkDeadline()
      const stored = this.read(collection, recordOf(key))
      if (stored === undefined) continue
      const added = this.#entries(index, stored.doc)
      this.#checkUnique(collection, index, added, stored.record)
      this.#put(index, added, stored.record)
    }
  }

  #entries (index: Index, doc: Doc): Entry[] {
    if (index.partial !== undefined && !matches(index.partial, doc)) return []
    const { keys, multikey, missing } = indexValues(doc, index.fields.map(({ path }) => path))
    if (index.sparse && missing) return []
    if (multikey.some((flag, field) => flag && index.multikey[field] !== true)) {
      index.multikey = index.multikey.map((flag, field) => flag || multikey[field] === true)
    }
    const entries = new Map<string, Entry>()
    for (const values of keys) {
      const { bytes, exact } = encodeKey(values, index.fields.map(({ descending }) => descending))
      if (!exact) index.inexact = true
      entries.set(bytes.toString('latin1'), { key: bytes, values, exact })
    }
    return [...entries.values()]
  }

  #checkUnique (collection: Collection, index: Index, entries: Entry[], record: number): void {
    if (!index.unique) return
    for (const entry of entries) {
      for (const key of readKeys(
        this.#storage.indexes,
        prefixRange(Buffer.concat([uint32(index.id), entry.key])),
        false
      )) {
        const other = recordOf(key)
        if (other !== record && (entry.exact || this.#reallyEqual(collection, index, other, entry))) {
          throw duplicateKey(collection, index, entry.values)
        }
      }
    }
  }

  /** Compares the whole values when inexact keys are equal. */
  #reallyEqual (collection: Collection, index: Index, record: number, entry: Entry): boolean {
    const other = this.read(collection, record)
    if (other === undefined) return false
    const { keys } = indexValues(other.doc, index.fields.map(({ path }) => path))
    return keys.some(values => values.every((value, at) => equalValues(value, entry.values[at] ?? null)))
  }

  #put (index: Index, entries: Entry[], record: number): void {
    for (const { key } of entries) this.#storage.indexes.putSync(entryKey(index, key, record), Buffer.alloc(0))
  }

  #remove (index: Index, entries: Entry[], record: number): void {
    for (const { key } of entries) this.#storage.indexes.removeSync(entryKey(index, key, record))
  }
}

/** A document is stored with its checksum. Those of earlier versions have none. */
function sealed (raw: Buffer): Buffer {
  const checksum = Buffer.allocUnsafe(4)
  checksum.writeUInt32LE(crc32(raw))
  return Buffer.concat([raw, checksum])
}

function unsealed (stored: Buffer): Buffer {
  const raw = stored.subarray(0, stored.readInt32LE(0))
  if (stored.length > raw.length && stored.readUInt32LE(raw.length) !== crc32(raw)) throw new Error('document damaged')
  return raw
}

const documentKey = (collection: Collection, record: number): Buffer => Buffer.concat([
  uint32(collection.id),
  recordBytes(record)
])

const entryKey = (index: Index, key: Buffer, record: number): Buffer => Buffer.concat([
  uint32(index.id),
  key,
  recordBytes(record)
])

function encodeChecked (doc: Doc): Buffer {
  const raw = encode(doc)
  if (raw.length > MAX_DOCUMENT_BYTES) {
    throw new CommandError(
      10334,
      `BSONObj size: ${raw.length} (0x${raw.length.toString(16).toUpperCase()}) is invalid. Size must be between 0 and 16793600(16MB) First element: _id: ${describe(doc.get('_id'))}`
    )
  }
  return raw
}

function duplicateKey (collection: Collection, index: Index, values: Value[]): CommandError {
  const value: Doc = new Map(index.fields.map(({ path }, at) => [path, values[at] ?? null]))
  const key = index.spec.get('key') ?? null
  return new CommandError(
    11000,
    `E11000 duplicate key error collection: ${namespaceOf(collection)} index: ${index.name} dup key: ${describe(value)}`,
    new Map<string, Value>([['keyPattern', key], ['keyValue', value]])
  )
}
