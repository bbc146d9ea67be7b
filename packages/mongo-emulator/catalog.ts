import { Int32 } from 'bson'
import { decode } from './decode.js'
import { encode } from './encode.js'
import { CommandError } from './errors.js'
import { parseFilter } from './match-parse.js'
import type { Filter } from './match.js'
import { prefixRange, removeRange, uint32, type Storage } from './storage.js'
import { fromInteger, isDoc, isNumeric, toNumber, type Doc, type Value } from './values.js'

export interface IndexField { path: string, descending: boolean }

export interface Index {
  id: number
  name: string
  /** As `listIndexes` shows it: `v`, `key`, `name` and the options that were given. */
  spec: Doc
  fields: IndexField[]
  unique: boolean
  sparse: boolean
  partial: Filter | undefined
  expireAfterSeconds: number | undefined
  /** For each field, whether it ever led through an array. */
  multikey: boolean[]
  /** Whether a key was ever cut off or rounded. Then the order of keys is not reliable. */
  inexact: boolean
}

export interface Collection {
  id: number
  database: string
  name: string
  count: number
  nextRecord: number
  indexes: Index[]
}

export const namespaceOf = ({ database, name }: Collection): string => `${database}.${name}`

/** The collections and indexes, kept in memory and written in the transaction that changes them. */
export class Catalog {
  readonly #storage: Storage
  #collections = new Map<string, Collection>()
  #dirty = new Set<string>()
  #nextId = 1

  constructor (storage: Storage) {
    this.#storage = storage
    this.#load()
  }

  /**
   * Runs a command's work as one transaction, the catalogue included. On return all of it is on disk; after a throw
   * nothing is.
   */
  transaction<T> (work: () => T): T {
    try {
      return this.#storage.transaction(() => {
        const result = work()
        this.#flush()
        return result
      })
    } catch (error) {
      this.#dirty.clear()
      this.#load()
      throw error
    }
  }

  find (database: string, name: string): Collection | undefined {
    return this.#collections.get(`${database}.${name}`)
  }

  in (database: string): Collection[] {
    return this.all().filter(collection => collection.database === database)
  }

  all (): Collection[] {
    return [...this.#collections.values()]
  }

  findOrCreate (database: string, name: string): Collection {
    return this.find(database, name) ?? this.create(database, name)
  }

  /** Makes a collection with its `_id` index. Throws CommandError 73 for a name MongoDB does not allow. */
  create (database: string, name: string): Collection {
    checkNames(database, name)
    const collection: Collection = {
      id: this.allocate(),
      database,
      name,
      count: 0,
      nextRecord: 1,
      indexes: [
        parseIndex(
          new Map<string, Value>([['v', new Int32(2)], ['key', new Map([['_id', new Int32(1)]])], ['name', '_id_']]),
          this.allocate()
        )
      ]
    }
    this.#collections.set(namespaceOf(collection), collection)
    this.changed(collection)
    return collection
  }

  drop (collection: Collection): void {
    for (const index of collection.indexes) this.dropIndexEntries(index)
    removeRange(this.#storage.documents, prefixRange(uint32(collection.id)))
    this.#collections.delete(namespaceOf(collection))
    this.changed(collection)
  }

  dropIndexEntries (index: Index): void {
    removeRange(this.#storage.indexes, prefixRange(uint32(index.id)))
  }

  changed (collection: Collection): void {
    this.#dirty.add(namespaceOf(collection))
  }

  allocate (): number {
    return this.#nextId++
  }

  #load (): void {
    const entries = [...this.#storage.catalog.getRange()].map(({ value }) => collectionFrom(decode(value)))
    this.#collections = new Map(entries.map(collection => [namespaceOf(collection), collection]))
    this.#nextId = 1 + Math.max(0, ...entries.flatMap(({ id, indexes }) => [id, ...indexes.map(index => index.id)]))
  }

  #flush (): void {
    for (const namespace of this.#dirty) {
      const collection = this.#collections.get(namespace)
      if (collection === undefined) this.#storage.catalog.removeSync(Buffer.from(namespace))
      else this.#storage.catalog.putSync(Buffer.from(namespace), encode(collectionDoc(collection)))
    }
    this.#dirty.clear()
  }
}

function checkNames (database: string, name: string): void {
  if (!/^[^/\\. "$\0]{1,63}$/.test(database) || !/^(?!\.|system\.)[^$\0]{1,190}(?<!\.)$/.test(name)) {
    throw new CommandError(73, `Invalid namespace specified '${database}.${name}'`)
  }
}

/** Reads an index specification that was checked before. */
export function parseIndex (spec: Doc, id: number): Index {
  const key = spec.get('key')
  const fields = [...isDoc(key) ? key : []].map(([path, direction]) => ({
    path,
    descending: isNumeric(direction) && toNumber(direction) < 0
  }))
  const partial = spec.get('partialFilterExpression')
  const seconds = spec.get('expireAfterSeconds')
  return {
    id,
    name: String(spec.get('name')),
    spec,
    fields,
    unique: spec.get('unique') === true || (fields.length === 1 && fields[0]?.path === '_id'),
    sparse: spec.get('sparse') === true,
    partial: isDoc(partial) ? parseFilter(partial) : undefined,
    expireAfterSeconds: isNumeric(seconds) ? toNumber(seconds) : undefined,
    multikey: fields.map(() => false),
    inexact: false
  }
}

function collectionDoc (collection: Collection): Doc {
  const { id, database, name, count, nextRecord, indexes } = collection
  return new Map<string, Value>([
    ['id', fromInteger(id)], ['database', database], ['name', name],
    ['count', fromInteger(count)], ['nextRecord', fromInteger(nextRecord)],
    ['indexes', indexes.map(index => new Map<string, Value>([
      ['id', fromInteger(index.id)], ['spec', index.spec], ['multikey', index.multikey], ['inexact', index.inexact]
    ]))]
  ])
}

function collectionFrom (doc: Doc): Collection {
  const number = (name: string, from = doc): number => Number(from.get(name)?.toString())
  const indexes = doc.get('indexes')
  return {
    id: number('id'),
    database: String(doc.get('database')),
    name: String(doc.get('name')),
    count: number('count'),
    nextRecord: number('nextRecord'),
    indexes: (Array.isArray(indexes) ? indexes : []).filter(isDoc).map(entry => {
      const spec = entry.get('spec')
      const multikey = entry.get('multikey')
      const index = parseIndex(isDoc(spec) ? spec : new Map(), number('id', entry))
      index.multikey = Array.isArray(multikey) ? multikey.map(flag => flag === true) : []
      index.inexact = entry.get('inexact') === true
      return index
    })
  }
}
