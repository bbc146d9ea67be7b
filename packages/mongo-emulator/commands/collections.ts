import { namespaceOf, type Collection } from '../catalog.js'
import { encode } from '../encode.js'
import { CommandError } from '../errors.js'
import { createEnvironment } from '../expressions/types.js'
import { filterOf } from '../match-parse.js'
import { matches } from '../match.js'
import { sessionOf } from '../sessions.js'
import { isDoc, isNumeric, isTruthy, toDoc, toNumber, type Value } from '../values.js'
import { collectionName, countField, docField, flagField } from './fields.js'
import type { Command, CommandTable, Reply, Request, Services } from './types.js'

const NOT_FOUND = 26

export function existing ({ database, body, name }: Request, { catalog }: Services): Collection {
  const collection = catalog.find(database, String(body.get(name)))
  if (collection === undefined) {
    throw new CommandError(NOT_FOUND, `ns does not exist: ${database}.${String(body.get(name))}`)
  }
  return collection
}

/** Databases of every replica set. */
const systemDatabases = ['admin', 'config', 'local']

const listDatabases: Command = {
  fields: ['filter', 'nameOnly', 'authorizedDatabases'],
  adminOnly: true,
  run: (request, { catalog, now }) => {
    const filter = filterOf(docField(request, 'filter'), 'listDatabases.filter', createEnvironment(now()))
    const nameOnly = flagField(request, 'nameOnly')
    const sizes = new Map(systemDatabases.map(name => [name, 0]))
    for (const { database, bytes } of catalog.all()) sizes.set(database, (sizes.get(database) ?? 0) + bytes)
    const databases = [...sizes].sort(([a], [b]) => a < b ? -1 : 1)
      .map(([name, size]) => toDoc({ name, ...(nameOnly ? {} : { sizeOnDisk: BigInt(size), empty: size === 0 }) }))
      .filter(doc => matches(filter, doc))
    const totalSize = [...sizes.values()].reduce((a, b) => a + b, 0)
    return nameOnly
      ? { databases }
      : { databases, totalSize: BigInt(totalSize), totalSizeMb: BigInt(Math.floor(totalSize / 2 ** 20)) }
  }
}

const listCollections: Command = {
  fields: ['filter', 'cursor', 'nameOnly', 'authorizedCollections'],
  run: (request, { catalog, cursors, now }) => {
    const filter = filterOf(docField(request, 'filter'), 'listCollections.filter', createEnvironment(now()))
    const nameOnly = flagField(request, 'nameOnly')
    const entries = catalog.in(request.database).map(collection => describeCollection(collection, nameOnly)).filter(
      doc => matches(filter, doc)
    )
    return {
      cursor: cursors.first(`${request.database}.$cmd.listCollections`, entries.map(encode), {
        batchSize: batchSizeOf(request),
        session: sessionOf(request.body)
      })
    }
  }
}

const describeCollection = ({ name, uuid, indexes }: Collection, nameOnly: boolean) => toDoc({
  name,
  type: 'collection',
  ...(nameOnly ? {} : { options: {}, info: { readOnly: false, uuid }, idIndex: indexes[0]?.spec })
})

/** The `batchSize` within the `cursor` option of commands other than find. */
export function batchSizeOf (request: Request): number | undefined {
  const size = docField(request, 'cursor')?.get('batchSize')
  if (size === undefined) return undefined
  if (!isNumeric(size)) throw new CommandError(14, "BSON field 'batchSize' must be a number")
  if (toNumber(size) < 0) {
    throw new CommandError(51024, `BSON field 'batchSize' value must be >= 0, actual value '${toNumber(size)}'`)
  }
  return toNumber(size)
}

const collectionOptions = [
  'capped',
  'size',
  'max',
  'validator',
  'validationLevel',
  'validationAction',
  'storageEngine',
  'indexOptionDefaults',
  'viewOn',
  'pipeline',
  'timeseries',
  'expireAfterSeconds',
  'clusteredIndex',
  'changeStreamPreAndPostImages',
  'encryptedFields',
  'idIndex',
  'autoIndexId',
  'collation',
  'flags',
  'temp'
]

/** Options with these values change nothing, so they need not be refused. */
const harmless = (name: string, value: Value): boolean =>
  name === 'autoIndexId' ||
    name === 'flags' ||
    name === 'idIndex' ||
    !isTruthy(value) ||
    (isDoc(value) && (value.size === 0 || value.get('locale') === 'simple'))

function refuseOptions (request: Request): void {
  for (const name of collectionOptions) {
    const value = request.body.get(name)
    if (value !== undefined && !harmless(name, value)) {
      throw new CommandError(72, `the collection option '${name}' is not supported by this server`)
    }
  }
}

const create: Command = {
  fields: collectionOptions,
  writes: true,
  run: (request, { catalog }) => {
    const name = collectionName(request)
    refuseOptions(request)
    if (catalog.find(request.database, name) === undefined) catalog.create(request.database, name)
    return {}
  }
}

const drop: Command = {
  fields: [],
  writes: true,
  run: (request, { catalog, cursors }) => {
    const collection = catalog.find(request.database, collectionName(request))
    if (collection === undefined) return {}
    catalog.drop(collection)
    cursors.killNamespace(namespaceOf(collection))
    return { nIndexesWas: collection.indexes.length, ns: namespaceOf(collection) }
  }
}

const dropDatabase: Command = {
  fields: [],
  writes: true,
  run: ({ database }, { catalog, cursors }) => {
    for (const collection of catalog.in(database)) {
      catalog.drop(collection)
      cursors.killNamespace(namespaceOf(collection))
    }
    return { dropped: database }
  }
}

/** `collMod` changes an index's `expireAfterSeconds`; nothing else. */
const collMod: Command = {
  fields: ['index', ...collectionOptions],
  writes: true,
  run: (request, services) => {
    refuseOptions(request)
    const collection = existing(request, services)
    const change = docField(request, 'index')
    if (change === undefined) return {}
    const seconds = change.get('expireAfterSeconds')
    const index = collection.indexes.find(({ name, spec }) =>
      name === change.get('name') || sameSpec(spec.get('key'), change.get('keyPattern')))
    if (index === undefined) {
      throw new CommandError(27, `cannot find index ${String(change.get('name'))} for ns ${namespaceOf(collection)}`)
    }
    if (!isNumeric(seconds)) throw new CommandError(72, "collMod of this server changes 'expireAfterSeconds' only")
    const before = index.expireAfterSeconds
    index.expireAfterSeconds = toNumber(seconds)
    index.spec.set('expireAfterSeconds', seconds)
    services.catalog.changed(collection)
    return {
      ...(before === undefined ? {} : { expireAfterSeconds_old: BigInt(before) }),
      expireAfterSeconds_new: BigInt(toNumber(seconds))
    }
  }
}

const sameSpec = (a: Value | undefined, b: Value | undefined): boolean => isDoc(a) &&
  isDoc(b) &&
  encode(a).equals(encode(b))

function sizes (collections: Collection[], scale: number): Reply {
  const objects = collections.reduce((total, { count }) => total + count, 0)
  const bytes = collections.reduce((total, collection) => total + collection.bytes, 0)
  return {
    count: objects,
    size: Math.floor(bytes / scale),
    ...(objects === 0 ? {} : { avgObjSize: Math.floor(bytes / objects) }),
    storageSize: Math.floor(bytes / scale),
    scaleFactor: scale
  }
}

const collStats: Command = {
  fields: ['scale'],
  run: (request, { catalog }) => {
    const name = collectionName(request)
    const collection = catalog.find(request.database, name)
    const indexes = collection?.indexes ?? []
    return {
      ns: `${request.database}.${name}`,
      ...sizes(collection === undefined ? [] : [collection], countField(request, 'scale') ?? 1),
      nindexes: indexes.length,
      indexSizes: Object.fromEntries(indexes.map(index => [index.name, 0])),
      totalIndexSize: 0,
      capped: false
    }
  }
}

const dbStats: Command = {
  fields: ['scale', 'freeStorage'],
  run: (request, { catalog }) => {
    const collections = catalog.in(request.database)
    const { count, size, ...rest } = sizes(collections, countField(request, 'scale') ?? 1)
    const indexes = collections.reduce((total, collection) => total + collection.indexes.length, 0)
    return {
      db: request.database,
      collections: collections.length,
      views: 0,
      objects: count,
      dataSize: size,
      ...rest,
      indexes,
      indexSize: 0,
      totalSize: size
    }
  }
}

export const collectionCommands: CommandTable = {
  listDatabases,
  listCollections,
  create,
  drop,
  dropDatabase,
  collMod,
  collStats,
  collstats: collStats,
  dbStats,
  dbstats: dbStats
}
