import { encode } from '../encode.js'
import { CommandError, failedToParse } from '../errors.js'
import { parseFilter } from '../match-parse.js'
import { toSafeInteger } from '../numbers.js'
import { compilePipeline, stageOf } from '../pipeline/compile.js'
import { countMatching, findRecords, planQuery, queryFor, type Query } from '../queries.js'
import { fromInteger, isDoc, isNumeric, type Doc, type Value } from '../values.js'
import { batchSizeOf } from './collections.js'
import { collectionName, requiredArray } from './fields.js'
import { nothing, sourceOf } from './find.js'
import type { Command, CommandTable, Request, Services } from './types.js'

/** Splits a pipeline into the leading `$match` and `$limit`, which a query can do with indexes, and the rest. */
function splitPipeline (pipeline: Value[], hint: Value | undefined): { query: Query, rest: Value[] } {
  const stage = (at: number): [string, Value] => pipeline[at] === undefined ? ['', null] : stageOf(pipeline[at])
  const [first, filter] = stage(0)
  const isMatch = first === '$match' && isDoc(filter)
  const [second, limit] = stage(isMatch ? 1 : 0)
  const most = second === '$limit' && isNumeric(limit) ? toSafeInteger(limit) ?? 0 : 0
  return {
    query: {
      ...queryFor(isMatch ? parseFilter(filter) : { kind: 'and', children: [] }),
      limit: most > 0 ? most : Infinity,
      hint
    },
    rest: pipeline.slice(Number(isMatch) + Number(most > 0))
  }
}

function * docsOf (request: Request, services: Services, query: Query): Generator<Doc> {
  const source = sourceOf(request, services)
  if (source === undefined) return
  for (const { doc } of findRecords(source, query, nothing())) yield doc
}

/** Whether the rest of a pipeline is the one of `countDocuments`: `{ $group: { _id: 1, n: { $sum: 1 } } }`. */
function isCount (rest: Value[]): boolean {
  const [name, operand] = rest.length === 1 ? stageOf(rest[0] ?? null) : []
  if (name !== '$group' || !isDoc(operand) || operand.size !== 2 || !isNumeric(operand.get('_id'))) return false
  const n = operand.get('n')
  const sum = isDoc(n) ? n.get('$sum') : undefined
  return isNumeric(sum) && toSafeInteger(sum) === 1
}

/** The pipeline of `countDocuments`, answered without reading documents where an index allows it. */
function * counted (request: Request, services: Services, query: Query, rest: Value[]): Generator<Doc> {
  const [, group] = stageOf(rest[0] ?? null)
  const source = sourceOf(request, services)
  const n = source === undefined ? 0 : countMatching(source, query, nothing())
  if (n > 0 && isDoc(group)) yield new Map([['_id', group.get('_id') ?? null], ['n', fromInteger(n)]])
}

function results (request: Request, services: Services, pipeline: Value[]): Iterable<Doc> {
  const { query, rest } = splitPipeline(pipeline, request.body.get('hint'))
  const runRest = compilePipeline(rest, services.now())
  const source = sourceOf(request, services)
  if (source !== undefined) planQuery(source, query)
  return isCount(rest) ? counted(request, services, query, rest) : runRest(docsOf(request, services, query))
}

function * encoded (docs: Iterable<Doc>): Generator<Buffer> {
  for (const doc of docs) yield encode(doc)
}

const aggregate: Command = {
  fields: ['pipeline', 'cursor', 'allowDiskUse', 'hint'],
  run: (request, services) => {
    if (!request.body.has('cursor')) {
      throw failedToParse("The 'cursor' option is required, except for aggregate with the explain argument")
    }
    const pipeline = requiredArray(request, 'pipeline')
    if (typeof request.body.get('aggregate') !== 'string') {
      throw new CommandError(73, '{aggregate: 1} is not valid here; a collection is required.')
    }
    const namespace = `${request.database}.${collectionName(request)}`
    return {
      cursor: services.cursors.first(namespace, encoded(results(request, services, pipeline)), batchSizeOf(request))
    }
  }
}

export const aggregateCommands: CommandTable = { aggregate }
