import { CommandError } from '../errors.js'
import type { Examined } from '../execute.js'
import { lengthOf } from '../iterate.js'
import type { Plan } from '../planner.js'
import { countMatching, findRecords, planQuery, type Query } from '../queries.js'
import { isDoc, type Doc, type Plain, type Value } from '../values.js'
import { splitPipeline } from './aggregate.js'
import { environmentOf, requiredArray } from './fields.js'
import { queryOf } from './find-and-modify.js'
import { countQuery, findQuery, nothing, sourceOf } from './find.js'
import type { Command, CommandTable, Request, Services } from './types.js'
import { statementQuery } from './write.js'

/** Reads the query out of the command to explain. */
function queryToExplain (request: Request, services: Services): Query {
  const now = services.now()
  const environment = environmentOf(request, now)
  switch (request.name) {
    case 'find': return findQuery(request, now)
    case 'count': case 'distinct': return countQuery(request, now)
    case 'findAndModify': return queryOf(request, environment)
    case 'aggregate': return splitPipeline(
      requiredArray(request, 'pipeline'),
      request.body.get('hint'),
      environment
    ).query
    case 'update': case 'delete': {
      const [statement] = requiredArray(request, `${request.name}s`)
      return statementQuery(
        request,
        isDoc(statement) ? statement.get('q') : undefined,
        isDoc(statement) ? statement.get('hint') : undefined,
        environment
      )
    }
  }
  throw new CommandError(59, `Explain failed due to unknown command: ${request.name}`)
}

function scanStage (plan: Plan): Plain {
  if (plan.branches.length > 0) return { stage: 'OR', inputStages: plan.branches.map(scanStage) }
  const direction = plan.reverse ? 'backward' : 'forward'
  if (plan.index === undefined) return { stage: 'COLLSCAN', direction }
  const { name, spec, multikey, unique, sparse, partial } = plan.index
  return {
    stage: 'IXSCAN',
    keyPattern: spec.get('key'),
    indexName: name,
    isMultiKey: multikey.includes(true),
    isUnique: unique,
    isSparse: sparse,
    isPartial: partial !== undefined,
    indexVersion: 2,
    direction
  }
}

function winningPlan (plan: Plan, query: Query, isCount: boolean): Plain {
  if (isCount && plan.index !== undefined && plan.exact) return { stage: 'COUNT', inputStage: scanStage(plan) }
  const scan = scanStage(plan)
  const fetched: Plain = plan.index === undefined && plan.branches.length === 0
    ? scan
    : { stage: 'FETCH', inputStage: scan }
  const sorted: Plain = plan.sorted
    ? fetched
    : {
        stage: 'SORT',
        sortPattern: new Map(query.sort.map(({ path, descending }) => [path, descending ? -1 : 1])),
        inputStage: fetched
      }
  return query.limit === Infinity ? sorted : { stage: 'LIMIT', limitAmount: query.limit, inputStage: sorted }
}

function execute (request: Request, services: Services, query: Query, plan: Plan): {
  returned: number
  examined: Examined
} {
  const examined = nothing()
  const source = sourceOf(request, services)
  if (source === undefined) return { returned: 0, examined }
  if (request.name === 'count') return { returned: countMatching(source, query, examined), examined }
  return { returned: lengthOf(findRecords(source, query, examined, plan)), examined }
}

const eof: Plan = { index: undefined, ranges: [], reverse: false, sorted: true, exact: false, branches: [] }

function explainRequest (request: Request, services: Services, verbosity: Value | undefined): {
  [name: string]: Plain
} {
  const query = queryToExplain(request, services)
  const source = sourceOf(request, services)
  const plan = source === undefined ? eof : planQuery(source, query)
  const winning: Plain = source === undefined ? { stage: 'EOF' } : winningPlan(plan, query, request.name === 'count')
  const reply: { [name: string]: Plain } = {
    explainVersion: '1',
    queryPlanner: {
      namespace: `${request.database}.${String(request.body.get(request.name))}`,
      indexFilterSet: false,
      winningPlan: winning,
      rejectedPlans: []
    }
  }
  if (verbosity !== 'queryPlanner') {
    const { returned, examined } = execute(request, services, query, plan)
    reply['executionStats'] = {
      executionSuccess: true,
      nReturned: returned,
      executionTimeMillis: 0,
      totalKeysExamined: examined.keys,
      totalDocsExamined: examined.docs,
      executionStages: winning
    }
  }
  return {
    ...reply,
    command: request.body,
    serverInfo: {
      host: services.address.split(':')[0],
      port: Number(services.address.split(':').at(-1)),
      version: '',
      gitVersion: ''
    }
  }
}

const explain: Command = {
  fields: ['explain', 'verbosity'],
  run: (request, services) => {
    const inner = request.body.get('explain')
    if (!isDoc(inner)) {
      throw new CommandError(14, "BSON field 'explain.explain' is the wrong type, expected type 'object'")
    }
    return explainRequest(innerRequest(request, inner), services, request.body.get('verbosity') ?? 'allPlansExecution')
  }
}

const innerRequest = (request: Request, inner: Doc): Request => ({
  ...request,
  name: [...inner.keys()][0] ?? '',
  body: inner
})

/** `aggregate` with `explain: true` is explained instead of run. */
export const explainAggregate = (request: Request, services: Services): {
  [name: string]: Plain
} => explainRequest(request, services, 'queryPlanner')

export const explainCommands: CommandTable = { explain }
