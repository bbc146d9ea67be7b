import { Int32 } from 'bson'
import { namespaceOf, parseIndex, type Collection, type Index } from '../catalog.js'
import { describe } from '../describe.js'
import { encode } from '../encode.js'
import { CommandError } from '../errors.js'
import { parseFilter } from '../match-parse.js'
import type { Filter } from '../match.js'
import { sameKeys } from '../planner.js'
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
    const created = catalog.find(request.database, name) === undefined
    const collection = catalog.findOrCreate(request.database, name)
    const numIndexesBefore = collection.indexes.length
    for (const spec of specs) {
      if (alreadyThere(collection, spec)) continue
      const index = parseIndex(spec, catalog.allocate())
      records.buildIndex(collection, index)
      collection.indexes.push(index)
      catalog.changed(collection)
    }
    const numIndexesAfter = collection.indexes.length
    if (numIndexesAfter > 64) throw cannotCreate(`add index fails, too many indexes for ${namespaceOf(collection)}`)
    return {
      numIndexesBefore,
      numIndexesAfter,
      createdCollectionAutomatically: created,
      ...(numIndexesAfter === numIndexesBefore ? { note: 'all indexes already exist' } : {})
    }
  }
}

/** Checks an index specification and puts it into the form `listIndexes` shows. */
function checkSpec (spec: Value): Doc {
  if (!isDoc(spec)) throw new CommandError(14, 'The elements of the "indexes" array must be objects')
  const key = spec.get('key')
  const name = spec.get('name')
  for (const option of spec.keys()) {
    if (!options.has(option)) {
      throw new CommandError(
        197,
        `The field '${option}' is not valid for an index specification. Specification: ${describe(spec)}`
      )
    }
  }
  if (!isDoc(key)) throw new CommandError(9, "The 'key' field is a required property of an index specification")
  if (typeof name !== 'string') {
    throw new CommandError(9, "The 'name' field is a required property of an index specification")
  }
  if (name === '') throw cannotCreate('Error in specification: index name cannot be empty')
  checkKey(key)
  checkOptions(spec, key)
  const shown: Doc = new Map<string, Value>([['v', new Int32(2)], ['key', key], ['name', name]])
  for (const option of defining) {
    const value = spec.get(option)
    if (value !== undefined && value !== false) shown.set(option, value)
  }
  return shown
}

function checkKey (key: Doc): void {
  if (key.size === 0) throw cannotCreate('Index keys cannot be an empty object.')
  if (key.size > 32) throw new CommandError(13103, 'too many compound keys')
  for (const [path, direction] of key) {
    if (path === '' || path.split('.').includes('')) {
      throw cannotCreate(`Index key contains an illegal field name: '${path}'`)
    }
    if (path.startsWith('$')) {
      throw cannotCreate('Index key contains an illegal field name: field name starts with \'$\'.')
    }
    if (typeof direction === 'string') throw cannotCreate(`'${direction}' indexes are not supported by this server`)
    if (!isNumeric(direction) || toNumber(direction) === 0 || Number.isNaN(toNumber(direction))) {
      throw cannotCreate(
        `Values in v:2 index key pattern cannot be of type ${describe(direction)}. Only numbers > 0, numbers < 0, and strings are allowed.`
      )
    }
  }
}

function checkOptions (spec: Doc, key: Doc): void {
  for (const option of ['unique', 'sparse']) {
    const value = spec.get(option)
    if (value !== undefined && typeof value !== 'boolean') {
      throw new CommandError(14, `The field '${option}' has value ${option}: ${describe(value)}, which is not a boolean`)
    }
  }
  const partial = spec.get('partialFilterExpression')
  if (partial !== undefined) {
    if (!isDoc(partial)) throw new CommandError(14, "The field 'partialFilterExpression' must be an object")
    if (spec.get('sparse') === true) throw cannotCreate('cannot mix "partialFilterExpression" and "sparse" options')
    checkPartial(parseFilter(partial))
  }
  const seconds = spec.get('expireAfterSeconds')
  if (seconds === undefined) return
  if (!isNumeric(seconds)) throw new CommandError(14, "The field 'expireAfterSeconds' must be a number")
  if (key.size > 1) {
    throw cannotCreate(
      'TTL indexes are single-field indexes, compound indexes do not support TTL. Index spec: ' + describe(spec)
    )
  }
}

/** The operators MongoDB allows in a partial filter. */
const partialOperators = new Set(['$eq', '$gt', '$gte', '$lt', '$lte', '$exists', '$type', '$in'])

function checkPartial (filter: Filter): void {
  if (filter.kind === 'and' || filter.kind === 'or') filter.children.forEach(checkPartial)
  else if (filter.kind !== 'leaf' || !partialOperators.has(filter.operator)) {
    throw cannotCreate('Expression not supported in partial index')
  }
}

/** True for the same index again. Throws CommandError 85 or 86 for one that differs under the same name or key. */
function alreadyThere (collection: Collection, spec: Doc): boolean {
  const sameName = collection.indexes.find(({ name }) => name === spec.get('name'))
  const sameKey = collection.indexes.find(index =>
    sameKeys(spec.get('key') ?? null, index.spec.get('key')) &&
      encodedKey(spec) === encodedKey(index.spec) &&
      sameOption(spec, index, 'partialFilterExpression'))
  if (sameKey !== undefined && spec.get('name') === '_id_') return true
  if (sameName !== undefined && (sameName !== sameKey || !sameOptions(spec, sameName))) {
    if (sameName === sameKey && sameOption(spec, sameName, 'unique') && sameOption(spec, sameName, 'sparse')) {
      throw new CommandError(
        85,
        `An equivalent index already exists with the same name but different options. Requested index: ${describe(spec)}, existing index: ${describe(sameName.spec)}`
      )
    }
    throw new CommandError(
      86,
      `An existing index has the same name as the requested index. When index names are not specified, they are auto generated and can cause conflicts. Please refer to our documentation. Requested index: ${describe(spec)}, existing index: ${describe(sameName.spec)}`
    )
  }
  if (sameKey === undefined) return false
  if (sameKey === sameName) return true
  if (sameOptions(spec, sameKey)) {
    throw new CommandError(85, `Index already exists with a different name: ${sameKey.name}`)
  }
  throw new CommandError(
    85,
    `An equivalent index already exists with a different name and options. Requested index: ${describe(spec)}, existing index: ${describe(sameKey.spec)}`
  )
}

const encodedKey = (spec: Doc): string => {
  const key = spec.get('key')
  return isDoc(key)
    ? [...key].map(([path, direction]) => `${path}:${isNumeric(direction) && toNumber(direction) < 0 ? -1 : 1}`).join()
    : ''
}

const sameOption = (spec: Doc, index: Index, option: string): boolean =>
  encode(new Map([['', spec.get(option) ?? null]])).equals(encode(new Map([['', index.spec.get(option) ?? null]])))

const sameOptions = (spec: Doc, index: Index): boolean => defining.every(option => sameOption(spec, index, option))

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
