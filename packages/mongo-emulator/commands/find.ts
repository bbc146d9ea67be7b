import { CommandError } from '../errors.js'
import type { Examined, Source } from '../execute.js'
import { filterOf } from '../match-parse.js'
import { compileProjection } from '../projection.js'
import { findEncoded, planQuery, type Query } from '../queries.js'
import { parseSort } from '../sort.js'
import { collectionName, countField, docField, flagField, requiredArray } from './fields.js'
import type { Command, CommandTable, Request, Services } from './types.js'

export const nothing = (): Examined => ({ keys: 0, docs: 0 })

/** Where a command's collection is read; undefined when there is no such collection, which reads as an empty one. */
export function sourceOf (request: Request, { storage, records, catalog }: Services): Source | undefined {
  const collection = catalog.find(request.database, collectionName(request))
  return collection === undefined ? undefined : { storage, records, collection }
}

const fields = [
  'filter', 'sort', 'projection', 'hint', 'skip', 'limit', 'batchSize', 'singleBatch', 'allowDiskUse'
]

/** Reads the query of a find command. A limit of 0 is none. */
export function findQuery (request: Request): Query {
  const sort = docField(request, 'sort')
  const projection = docField(request, 'projection')
  if (projection !== undefined) compileProjection(projection)
  return {
    filter: filterOf(request.body.get('filter') ?? undefined, `${request.name}.filter`),
    sort: sort === undefined ? [] : parseSort(sort),
    skip: countField(request, 'skip') ?? 0,
    limit: countField(request, 'limit') || Infinity,
    hint: request.body.get('hint'),
    projection: projection?.size === 0 ? undefined : projection
  }
}

const find: Command = {
  fields,
  run: (request, services) => {
    const name = collectionName(request)
    const query = findQuery(request)
    const source = sourceOf(request, services)
    if (source !== undefined) planQuery(source, query)
    const results = source === undefined ? [] : findEncoded(source, query, nothing())
    return {
      cursor: services.cursors.first(
        `${request.database}.${name}`,
        results,
        countField(request, 'batchSize'),
        flagField(request, 'singleBatch')
      )
    }
  }
}

const getMore: Command = {
  fields: ['collection', 'batchSize'],
  run: (request, { cursors }) => {
    const id = request.body.get('getMore')
    if (typeof id !== 'bigint') {
      throw new CommandError(14, "BSON field 'getMore.getMore' is the wrong type, expected type 'long'")
    }
    const namespace = `${request.database}.${String(request.body.get('collection'))}`
    return { cursor: cursors.next(id, namespace, countField(request, 'batchSize') || undefined) }
  }
}

const killCursors: Command = {
  fields: ['cursors'],
  run: (request, { cursors }) => {
    const ids = requiredArray(request, 'cursors').map(id => BigInt(String(id)))
    const killed = ids.filter(id => cursors.kill(id))
    return {
      cursorsKilled: killed,
      cursorsNotFound: ids.filter(id => !killed.includes(id)),
      cursorsAlive: [],
      cursorsUnknown: []
    }
  }
}

export const findCommands: CommandTable = { find, getMore, killCursors }
