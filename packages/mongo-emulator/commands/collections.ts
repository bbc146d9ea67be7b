import { namespaceOf, type Collection } from '../catalog.js'
import { encode } from '../encode.js'
import { CommandError } from '../errors.js'
import { filterOf } from '../match-parse.js'
import { matches } from '../match.js'
import { isNumeric, toDoc, toNumber } from '../values.js'
import { collectionName, docField, flagField } from './fields.js'
import type { Command, CommandTable, Request } from './types.js'

const listCollections: Command = {
  fields: ['filter', 'cursor', 'nameOnly', 'authorizedCollections'],
  run: (request, { catalog, cursors }) => {
    const filter = filterOf(docField(request, 'filter'), 'listCollections.filter')
    const nameOnly = flagField(request, 'nameOnly')
    const entries = catalog.in(request.database).map(collection => describeCollection(collection, nameOnly)).filter(
      doc => matches(filter, doc)
    )
    return {
      cursor: cursors.first(`${request.database}.$cmd.listCollections`, entries.map(encode), batchSizeOf(request))
    }
  }
}

const describeCollection = ({ name, indexes }: Collection, nameOnly: boolean) => toDoc({
  name,
  type: 'collection',
  ...(nameOnly ? {} : { options: {}, info: { readOnly: false }, idIndex: indexes[0]?.spec })
})

/** The `batchSize` within the `cursor` option of commands other than find. */
export function batchSizeOf (request: Request): number | undefined {
  const size = docField(request, 'cursor')?.get('batchSize')
  if (size === undefined) return undefined
  if (isNumeric(size) && toNumber(size) >= 0) return toNumber(size)
  throw new CommandError(14, "BSON field 'batchSize' must be a number that is not negative")
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

export const collectionCommands: CommandTable = { listCollections, drop, dropDatabase }
