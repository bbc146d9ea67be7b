import { namespaceOf, type Collection } from '../catalog.js'
import { CommandError } from '../errors.js'
import { lengthOf } from '../iterate.js'
import { countKeys, prefixRange, readKeys, uint32 } from '../storage.js'
import { existing } from './collections.js'
import { SET_NAME } from './handshake.js'
import type { Command, CommandTable, Request, Services } from './types.js'

/** The collection a command names by its whole namespace. */
function target ({ body }: Request, field: string): { database: string, name: string } {
  const namespace = body.get(field)
  const dot = typeof namespace === 'string' ? namespace.indexOf('.') : -1
  if (typeof namespace !== 'string' || dot < 1 || dot === namespace.length - 1) {
    throw new CommandError(73, `Invalid namespace specified '${String(namespace)}'`)
  }
  return { database: namespace.slice(0, dot), name: namespace.slice(dot + 1) }
}

const renameCollection: Command = {
  fields: ['to', 'dropTarget', 'stayTemp'],
  adminOnly: true,
  writes: true,
  run: (request, { catalog, cursors }) => {
    const [from, to] = [target(request, 'renameCollection'), target(request, 'to')]
    const collection = catalog.find(from.database, from.name)
    if (collection === undefined) {
      throw new CommandError(26, `Source collection ${from.database}.${from.name} does not exist`)
    }
    const replaced = catalog.find(to.database, to.name)
    if (replaced === collection) throw new CommandError(20, "Can't rename a collection to itself")
    if (replaced !== undefined && request.body.get('dropTarget') !== true) {
      throw new CommandError(48, 'target namespace exists')
    }
    for (const { database, name } of [from, to]) cursors.killNamespace(`${database}.${name}`)
    if (replaced !== undefined) catalog.drop(replaced)
    catalog.rename(collection, to.database, to.name)
    return {}
  }
}

/** Counts what is stored and compares it with the catalogue. */
const validate: Command = {
  fields: ['full', 'scandata', 'background', 'repair', 'metadata', 'checkBSONConformance'],
  run: (request, services) => {
    const collection = existing(request, services)
    const documents = lengthOf(readKeys(services.storage.documents, prefixRange(uint32(collection.id)), false))
    const errors = documents === collection.count
      ? []
      : [`${documents} documents are stored and ${collection.count} are counted`]
    return {
      ns: namespaceOf(collection),
      uuid: collection.uuid,
      nInvalidDocuments: 0,
      nNonCompliantDocuments: 0,
      nrecords: documents,
      nIndexes: collection.indexes.length,
      keysPerIndex: Object.fromEntries(collection.indexes.map(({ name, id }) =>
        [name, countKeys(services.storage.indexes, prefixRange(uint32(id)))])),
      indexDetails: Object.fromEntries(collection.indexes.map(({ name }) => [name, { valid: true }])),
      valid: errors.length === 0,
      repaired: false,
      warnings: [],
      errors,
      extraIndexEntries: [],
      missingIndexEntries: [],
      corruptRecords: []
    }
  }
}

const dataSize: Command = {
  fields: ['keyPattern', 'min', 'max', 'estimate'],
  run: (request, { catalog }) => {
    const { database, name } = target(request, request.name)
    const collection: Pick<Collection, 'bytes' | 'count'> = catalog.find(database, name) ?? { bytes: 0, count: 0 }
    return { size: BigInt(collection.bytes), numObjects: BigInt(collection.count), millis: 0, estimate: false }
  }
}

const replSetGetStatus: Command = {
  fields: ['initialSync'],
  adminOnly: true,
  run: (_request, { address, now, startedAt }: Services) => ({
    set: SET_NAME,
    date: now(),
    myState: 1,
    term: 1n,
    heartbeatIntervalMillis: 2000n,
    majorityVoteCount: 1,
    writeMajorityCount: 1,
    votingMembersCount: 1,
    writableVotingMembersCount: 1,
    members: [
      {
        _id: 0,
        name: address,
        health: 1,
        state: 1,
        stateStr: 'PRIMARY',
        uptime: Math.floor((Date.now() - startedAt.getTime()) / 1000),
        configVersion: 1,
        self: true
      }
    ]
  })
}

/** There are no users here, so every sign-in fails. */
const saslStart: Command = {
  fields: undefined,
  run: () => { throw new CommandError(18, 'Authentication failed.') }
}

export const maintenanceCommands: CommandTable = {
  renameCollection,
  validate,
  dataSize,
  datasize: dataSize,
  replSetGetStatus,
  saslStart
}
