import { CommandError } from '../errors.js'
import type { Examined, Source } from '../execute.js'
import { filterOf } from '../match-parse.js'
import { toSafeInteger } from '../numbers.js'
import { valuesAt } from '../paths.js'
import { compileProjection } from '../projection.js'
import { countMatching, findEncoded, findRecords, planQuery, type Query } from '../queries.js'
import { sessionOf } from '../sessions.js'
import { parseSort } from '../sort.js'
import { ValueSet } from '../value-set.js'
import { isDoc, isNumeric } from '../values.js'
import {
  checkCollation,
  collectionName,
  countField,
  docField,
  environmentOf,
  flagField,
  requiredArray
} from './fields.js'
import type { Command, CommandTable, Request, Services } from './types.js'

export const nothing = (): Examined => ({ keys: 0, docs: 0 })

/** Where a command's collection is read; undefined when there is no such collection, which reads as an empty one. */
export function sourceOf (request: Request, { storage, records, catalog }: Services, name = collectionName(request)):
  | Source
  | undefined {
  const collection = catalog.find(request.database, name)
  return collection === undefined ? undefined : { storage, records, collection }
}

const unsupported = ['tailable', 'awaitData', 'oplogReplay', 'returnKey', 'showRecordId', 'min', 'max']

/** Reads the query of a find command. */
export function findQuery (request: Request, now: Date): Query {
  checkCollation(request.body.get('collation'))
  for (const option of unsupported) {
    const value = request.body.get(option)
    if (value !== undefined && value !== false && !(isDoc(value) && value.size === 0)) {
      throw new CommandError(2, `the find option '${option}' is not supported by this server`)
    }
  }
  const environment = environmentOf(request, now)
  const sort = docField(request, 'sort')
  const natural = sort?.has('$natural') === true
  const projection = docField(request, 'projection')
  if (projection !== undefined && projection.size > 0) compileProjection(projection, environment, true)
  return {
    filter: filterOf(request.body.get('filter') ?? undefined, `${request.name}.filter`, environment),
    sort: sort === undefined || natural ? [] : parseSort(sort),
    skip: countField(request, 'skip') ?? 0,
    limit: limitOf(request) ?? Infinity,
    hint: natural ? sort : request.body.get('hint'),
    projection,
    environment
  }
}

/** A limit of 0 is none; a negative one is its magnitude, in a single batch. */
function limitOf (request: Request): number | undefined {
  const limit = request.body.get('limit')
  if (limit === undefined || limit === null) return undefined
  const number = isNumeric(limit) ? toSafeInteger(limit) : undefined
  if (number === undefined) {
    throw new CommandError(14, `BSON field '${request.name}.limit' is the wrong type, expected type 'long'`)
  }
  if (number < 0 && request.name === 'find') {
    throw new CommandError(51024, `BSON field 'limit' value must be >= 0, actual value '${number}'`)
  }
  return number === 0 ? undefined : Math.abs(number)
}

const find: Command = {
  fields: [
    'filter',
    'sort',
    'projection',
    'hint',
    'skip',
    'limit',
    'batchSize',
    'singleBatch',
    'let',
    'collation',
    'allowDiskUse',
    'noCursorTimeout',
    'allowPartialResults',
    ...unsupported
  ],
  run: (request, services) => {
    const name = collectionName(request)
    const query = findQuery(request, services.now())
    const source = sourceOf(request, services)
    if (source !== undefined) planQuery(source, query)
    const results = source === undefined ? [] : findEncoded(source, query, nothing())
    return {
      cursor: services.cursors.first(`${request.database}.${name}`, results, {
        batchSize: countField(request, 'batchSize'),
        single: flagField(request, 'singleBatch'),
        session: sessionOf(request.body)
      })
    }
  }
}

const getMore: Command = {
  fields: ['collection', 'batchSize', 'term', 'lastKnownCommittedOpTime'],
  run: (request, { cursors }) => {
    const id = request.body.get('getMore')
    if (typeof id !== 'bigint') {
      throw new CommandError(14, "BSON field 'getMore.getMore' is the wrong type, expected type 'long'")
    }
    const collection = request.body.get('collection')
    const batchSize = countField(request, 'batchSize')
    return {
      cursor: cursors.next(
        id,
        `${request.database}.${String(collection)}`,
        batchSize === 0 ? undefined : batchSize,
        sessionOf(request.body)
      )
    }
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

export function countQuery (request: Request, now: Date): Query {
  checkCollation(request.body.get('collation'))
  const environment = environmentOf(request, now)
  return {
    filter: filterOf(request.body.get('query') ?? undefined, `${request.name}.query`, environment),
    sort: [],
    skip: countField(request, 'skip') ?? 0,
    limit: limitOf(request) ?? Infinity,
    hint: request.body.get('hint'),
    projection: undefined,
    environment
  }
}

const count: Command = {
  fields: ['query', 'limit', 'skip', 'hint', 'collation', 'fields'],
  run: (request, services) => {
    const query = countQuery(request, services.now())
    const source = sourceOf(request, services)
    return { n: source === undefined ? 0 : countMatching(source, query, nothing()) }
  }
}

const distinct: Command = {
  fields: ['key', 'query', 'collation', 'hint'],
  run: (request, services) => {
    const key = request.body.get('key')
    if (typeof key !== 'string') {
      throw new CommandError(14, "BSON field 'distinct.key' is the wrong type, expected type 'string'")
    }
    const query = countQuery(request, services.now())
    const source = sourceOf(request, services)
    const values = new ValueSet()
    for (const { doc } of source === undefined ? [] : findRecords(source, query, nothing())) {
      for (const value of valuesAt(doc, key.split('.'))) {
        (Array.isArray(value) ? value : [value]).forEach(item => { values.add(item) })
      }
    }
    return { values: values.list }
  }
}

export const findCommands: CommandTable = { find, getMore, killCursors, count, distinct }
