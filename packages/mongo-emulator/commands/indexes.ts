import { Int32 } from 'bson'
import { namespaceOf, parseIndex, type Collection, type Index } from '../catalog.js'
import { equalValues } from '../compare.js'
import { describe } from '../describe.js'
import { encode } from '../encode.js'
import { CommandError, failedToParse } from '../errors.js'
import { parseFilter } from '../match-parse.js'
import { isDoc, isNumeric, toNumber, type Doc, type Value } from '../values.js'
import { batchSizeOf } from './collections.js'
import { collectionName, requiredArray } from './fields.js'
import type { Command, CommandTable, Request, Services } from './types.js'

const cannotCreate = (message: string): CommandError => new CommandError(67, message)

/** Options that define an index; two indexes with the same key must agree in them. */
const defining = ['unique', 'sparse', 'partialFilterExpression', 'expireAfterSeconds'] as const

const options = new Set<string>(['v', 'key', 'name', ...defining])

const createIndexes: Command = {
  fields: ['indexes'],
  writes: true,
  run: (request, { catalog, records }) => {
    const name = collectionName(request)
    const specs = requiredArray(request, 'indexes').map(checkSpec)
    if (specs.length === 0) throw new CommandError(2, 'Must specify at least one index to create')
    const collection = catalog.findOrCreate(request.database, name)
    const numIndexesBefore = collection.indexes.length
    for (const spec of specs) {
      if (alreadyThere(collection, spec)) continue
      const index = parseIndex(spec, catalog.allocate())
      records.buildIndex(collection, index)
      collection.indexes.push(index)
      catalog.changed(collection)
    }
    return { numIndexesBefore, numIndexesAfter: collection.indexes.length }
  }
}

/** Checks an index specification and puts it into the form `listIndexes` shows. */
function checkSpec (spec: Value): Doc {
  if (!isDoc(spec)) throw new CommandError(14, 'The elements of the "indexes" array must be objects')
  const [key, name] = [spec.get('key'), spec.get('name')]
  const unknown = [...spec.keys()].find(option => !options.has(option))
  if (unknown !== undefined) {
    throw new CommandError(197, `The field '${unknown}' is not valid for an index specification: ${describe(spec)}`)
  }
  if (!isDoc(key) || typeof name !== 'string') throw failedToParse("An index specification needs 'key' and 'name'")
  checkKey(key)
  checkOptions(spec, key)
  const given = [...optionsOf(spec)].filter(([, value]) => value !== null && value !== false)
  return new Map<string, Value>([['v', new Int32(2)], ['key', key], ['name', name], ...given])
}

function checkKey (key: Doc): void {
  if (key.size === 0) throw cannotCreate('Index keys cannot be an empty object.')
  for (const [path, direction] of key) {
    if (path.startsWith('$') || path.split('.').includes('')) {
      throw cannotCreate(`Index key contains an illegal field name: '${path}'`)
    }
    if (!isNumeric(direction) || !toNumber(direction)) {
      throw cannotCreate(`Values in the index key pattern cannot be ${describe(direction)} on this server`)
    }
  }
}

function checkOptions (spec: Doc, key: Doc): void {
  const partial = spec.get('partialFilterExpression')
  const seconds = spec.get('expireAfterSeconds')
  if (partial !== undefined) {
    if (!isDoc(partial)) throw new CommandError(14, "The field 'partialFilterExpression' must be an object")
    if (spec.get('sparse') === true) throw cannotCreate('cannot mix "partialFilterExpression" and "sparse" options')
    parseFilter(partial)
  }
  if (seconds === undefined) return
  if (!isNumeric(seconds)) throw new CommandError(14, "The field 'expireAfterSeconds' must be a number")
  if (key.size > 1) throw cannotCreate(`TTL indexes are single-field indexes. Index spec: ${describe(spec)}`)
}

/** True for the same index again. Throws CommandError 85 or 86 for one that differs under the same key or name. */
function alreadyThere ({ indexes }: Collection, spec: Doc): boolean {
  const sameKey = indexes.find(index => equalValues(keyOf(spec), keyOf(index.spec)))
  const sameName = indexes.find(({ name }) => name === spec.get('name'))
  const other = sameName ?? sameKey
  if (other === undefined) return false
  if (sameKey === indexes[0] || (sameKey === sameName && sameOptions(spec, other))) return true
  throw new CommandError(
    sameName === undefined ? 85 : 86,
    `An index with the same name or key and other options exists. Requested index: ${describe(spec)}, existing index: ${describe(other.spec)}`
  )
}

/** What tells indexes apart: the same fields may be indexed once for each partial filter. */
const keyOf = (spec: Doc): Value => [spec.get('key') ?? null, spec.get('partialFilterExpression') ?? null]

const optionsOf = (spec: Doc): Doc => new Map(defining.map(option => [option, spec.get(option) ?? null]))

const sameOptions = (spec: Doc, index: Index): boolean => equalValues(optionsOf(spec), optionsOf(index.spec))

function existing (request: Request, { catalog }: Services): Collection {
  const name = collectionName(request)
  const collection = catalog.find(request.database, name)
  if (collection === undefined) throw new CommandError(26, `ns does not exist: ${request.database}.${name}`)
  return collection
}

const dropIndexes: Command = {
  fields: ['index'],
  writes: true,
  run: (request, services) => {
    const collection = existing(request, services)
    const which = request.body.get('index')
    const nIndexesWas = collection.indexes.length
    const dropped = which === '*' ? collection.indexes.slice(1) : [named(collection, which)]
    for (const index of dropped) services.catalog.dropIndexEntries(index)
    collection.indexes = collection.indexes.filter(index => !dropped.includes(index))
    services.catalog.changed(collection)
    services.cursors.killNamespace(namespaceOf(collection))
    return { nIndexesWas }
  }
}

function named (collection: Collection, which: Value | undefined): Index {
  const index = collection.indexes.find(({ name }) => name === which)
  if (index === undefined) throw new CommandError(27, `index not found with name [${String(which)}]`)
  if (index === collection.indexes[0]) throw new CommandError(72, 'cannot drop _id index')
  return index
}

const listIndexes: Command = {
  fields: ['cursor'],
  run: (request, services) => {
    const collection = existing(request, services)
    const specs = collection.indexes.map(({ spec }) => encode(spec))
    return { cursor: services.cursors.first(namespaceOf(collection), specs, batchSizeOf(request)) }
  }
}

export const indexCommands: CommandTable = { createIndexes, dropIndexes, listIndexes }
