import { CommandError } from '../errors.js'
import { lengthOf } from '../iterate.js'
import type { Plan } from '../planner.js'
import { findRecords, planQuery, type Query } from '../queries.js'
import { isDoc, type Plain } from '../values.js'
import { findQuery, nothing, sourceOf } from './find.js'
import type { Command, CommandTable, Reply, Request } from './types.js'

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

function winningPlan (plan: Plan, query: Query): Plain {
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

/** Explains a find command. */
const explain: Command = {
  fields: ['explain', 'verbosity'],
  run: (outer, services) => {
    const inner = outer.body.get('explain')
    if (!isDoc(inner)) {
      throw new CommandError(14, "BSON field 'explain.explain' is the wrong type, expected type 'object'")
    }
    const [name = ''] = inner.keys()
    if (name !== 'find') throw new CommandError(59, `Explain failed due to unknown command: ${name}`)
    const request: Request = { ...outer, name, body: inner }
    const query = findQuery(request)
    const source = sourceOf(request, services)
    const plan = source === undefined ? undefined : planQuery(source, query)
    const winning: Plain = plan === undefined ? { stage: 'EOF' } : winningPlan(plan, query)
    const reply: Reply = {
      explainVersion: '1',
      queryPlanner: {
        namespace: `${request.database}.${String(inner.get('find'))}`,
        indexFilterSet: false,
        winningPlan: winning,
        rejectedPlans: []
      }
    }
    if (outer.body.get('verbosity') === 'queryPlanner') return reply
    const examined = nothing()
    const nReturned = source === undefined ? 0 : lengthOf(findRecords(source, query, examined, plan))
    return {
      ...reply,
      executionStats: {
        executionSuccess: true,
        nReturned,
        executionTimeMillis: 0,
        totalKeysExamined: examined.keys,
        totalDocsExamined: examined.docs,
        executionStages: winning
      }
    }
  }
}

export const explainCommands: CommandTable = { explain }
