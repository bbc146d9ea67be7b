import { encode } from '../encode.js'
import { CommandError, failedToParse } from '../errors.js'
import { compileExpression } from '../expressions/compile.js'
import type { Environment } from '../expressions/types.js'
import { parseFilter } from '../match-parse.js'
import { toSafeInteger } from '../numbers.js'
import { compilePipeline, stageOf } from '../pipeline/compile.js'
import type { PipelineContext } from '../pipeline/types.js'
import { countMatching, findRecords, planQuery, type Query } from '../queries.js'
import { sessionOf } from '../sessions.js'
import { parseSort } from '../sort.js'
import { fromInteger, isDoc, isNumeric, toDoc, type Doc, type Value } from '../values.js'
import { batchSizeOf } from './collections.js'
import { checkCollation, collectionName, environmentOf, requiredArray } from './fields.js'
import { nothing, sourceOf } from './find.js'
import type { Command, CommandTable, Request, Services } from './types.js'

/** Splits a pipeline into the leading stages that a query can do, with indexes, and the rest. */
export function splitPipeline (pipeline: Value[], hint: Value | undefined, environment: Environment): {
  query: Query
  rest: Value[]
} {
  const query: Query = {
    filter: { kind: 'and', children: [] },
    sort: [],
    skip: 0,
    limit: Infinity,
    hint,
    projection: undefined,
    environment
  }
  let at = 0
  const take = (wanted: string): Value | undefined => {
    const [name, operand] = pipeline[at] === undefined ? [] : stageOf(pipeline[at] ?? null)
    if (name !== wanted || operand === undefined) return undefined
    at++
    return operand
  }
  const matched: Query['filter'][] = []
  for (let operand = take('$match'); operand !== undefined; operand = take('$match')) {
    if (!isDoc(operand)) throw new CommandError(15959, 'the match filter must be an expression in an object')
    matched.push(parseFilter(operand, environment))
  }
  if (matched.length > 0) {
    query.filter = matched.length === 1 && matched[0] !== undefined ? matched[0] : { kind: 'and', children: matched }
  }
  const sort = take('$sort')
  if (isDoc(sort) && sort.size > 0) query.sort = parseSort(sort)
  else if (sort !== undefined) at--
  query.skip = wholeOr(take('$skip'), () => { at-- }) ?? 0
  query.limit = wholeOr(take('$limit'), () => { at-- }) ?? Infinity
  return { query, rest: pipeline.slice(at) }
}

/** The number of `$skip` or `$limit`. A malformed one is left to the stage itself, which throws the right error. */
function wholeOr (operand: Value | undefined, giveBack: () => void): number | undefined {
  if (operand === undefined) return undefined
  const number = isNumeric(operand) ? toSafeInteger(operand) : undefined
  if (number !== undefined && number > 0) return number
  giveBack()
  return undefined
}

function * docsOf (request: Request, services: Services, name: string, query: Query): Generator<Doc> {
  const source = sourceOf(request, services, name)
  if (source === undefined) return
  for (const { doc } of findRecords(source, query, nothing())) yield doc
}

const isCount = (rest: Value[]): boolean => {
  const [name, operand] = rest.length === 1 ? stageOf(rest[0] ?? null) : []
  if (name !== '$group' || !isDoc(operand) || operand.size !== 2 || operand.get('_id') === undefined) return false
  const n = operand.get('n')
  const sum = isDoc(n) ? n.get('$sum') : undefined
  return !isDoc(operand.get('_id')) &&
    typeof operand.get('_id') !== 'string' &&
    isNumeric(sum) &&
    toSafeInteger(sum) === 1
}

/** The pipeline of `countDocuments`, answered without reading documents where an index allows it. */
function * counted (request: Request, services: Services, query: Query, rest: Value[]): Generator<Doc> {
  const [, group] = stageOf(rest[0] ?? null)
  const source = sourceOf(request, services)
  const n = source === undefined ? 0 : countMatching(source, query, nothing())
  if (n > 0 && isDoc(group)) yield new Map([['_id', group.get('_id') ?? null], ['n', fromInteger(n)]])
}

function contextOf (request: Request, services: Services, environment: Environment): PipelineContext {
  return {
    environment,
    query: (collection, filter, inner) => docsOf(request, services, collection, {
      filter: parseFilter(filter, inner),
      sort: [],
      skip: 0,
      limit: Infinity,
      hint: undefined,
      projection: undefined,
      environment: inner
    })
  }
}

/** Statistics stages can only come first and read no documents. */
function * collStats (request: Request, services: Services): Generator<Doc> {
  const collection = sourceOf(request, services)?.collection
  const { count = 0, bytes = 0 } = collection ?? {}
  yield toDoc({
    ns: `${request.database}.${collectionName(request)}`,
    host: services.address,
    localTime: services.now(),
    count,
    storageStats: { count, size: bytes }
  })
}

function results (request: Request, services: Services, pipeline: Value[]): Iterable<Doc> {
  const environment = environmentOf(request, services.now())
  const context = contextOf(request, services, environment)
  const [first] = pipeline.length === 0 ? [] : stageOf(pipeline[0] ?? null)
  if (first === '$collStats') return compilePipeline(pipeline.slice(1), context)(collStats(request, services))
  const { query, rest } = splitPipeline(pipeline, request.body.get('hint'), environment)
  const runRest = compilePipeline(rest, context)
  const source = sourceOf(request, services)
  if (source !== undefined) planQuery(source, query)
  return isCount(rest)
    ? counted(request, services, query, rest)
    : runRest(docsOf(request, services, collectionName(request), query))
}

/** The documents of the stages that can begin a pipeline over no collection. */
function sourceStage (
  name: string,
  operand: Value,
  request: Request,
  services: Services,
  environment: Environment
): Doc[] {
  const lsid = request.body.get('lsid')
  switch (name) {
    case '$documents': return documents(operand, environment)
    case '$listLocalSessions': return isDoc(lsid) ? [toDoc({ _id: lsid, lastUse: services.now() })] : []
    case '$currentOp':
      return [
        toDoc({
          type: 'op',
          host: services.address,
          connectionId: request.connectionId,
          active: true,
          op: 'command',
          ns: `${request.database}.$cmd.aggregate`
        })
      ]
    case '$changeStream': throw new CommandError(40573, 'change streams are not supported by this server')
  }
  throw new CommandError(73, `{aggregate: 1} is not valid for '${name}'; a collection is required.`)
}

function documents (operand: Value, environment: Environment): Doc[] {
  const made = compileExpression(operand, environment)(environment.scope(new Map()))
  if (!Array.isArray(made) || !made.every(isDoc)) {
    throw new CommandError(5858203, 'an array is expected for $documents: its members must be objects')
  }
  return made
}

function databaseResults (request: Request, services: Services, pipeline: Value[]): Iterable<Doc> {
  const environment = environmentOf(request, services.now())
  const [name, operand] = stageOf(pipeline[0] ?? null)
  const run = compilePipeline(pipeline.slice(1), contextOf(request, services, environment))
  return run(sourceStage(name, operand, request, services, environment))
}

function * encoded (docs: Iterable<Doc>): Generator<Buffer> {
  for (const doc of docs) yield encode(doc)
}

const aggregate: Command = {
  fields: ['pipeline', 'cursor', 'explain', 'allowDiskUse', 'bypassDocumentValidation', 'collation', 'hint', 'let'],
  run: (request, services) => {
    if (!request.body.has('cursor')) {
      throw failedToParse("The 'cursor' option is required, except for aggregate with the explain argument")
    }
    checkCollation(request.body.get('collation'))
    const pipeline = requiredArray(request, 'pipeline')
    const overDatabase = typeof request.body.get('aggregate') !== 'string'
    const name = overDatabase ? '$cmd.aggregate' : collectionName(request)
    const docs = overDatabase ? databaseResults(request, services, pipeline) : results(request, services, pipeline)
    return {
      cursor: services.cursors.first(`${request.database}.${name}`, encoded(docs), {
        batchSize: batchSizeOf(request),
        session: sessionOf(request.body)
      })
    }
  }
}

export const aggregateCommands: CommandTable = { aggregate }
