import { CommandError } from '../errors.js'
import { lengthOf } from '../iterate.js'
import type { Plan } from '../planner.js'
import { findRecords, planQuery, type Query } from '../queries.js'
import { isDoc, type Plain } from '../values.js'
import { findQuery, nothing, sourceOf } from './find.js'
import type { Command, CommandTable, Reply, Request } from './types.js'

/** The stages of a plan, from the last to the first. */
function stagesOf (plan: Plan | undefined, query: Query): Plain {
  if (plan === undefined) return { stage: 'EOF' }
  const direction = plan.reverse ? 'backward' : 'forward'
  const fetched: Plain = plan.index === undefined
    ? { stage: 'COLLSCAN', direction }
    : {
        stage: 'FETCH',
        inputStage: {
          stage: 'IXSCAN',
          keyPattern: plan.index.spec.get('key'),
          indexName: plan.index.name,
          direction
        }
      }
  const sorted: Plain = plan.sorted ? fetched : { stage: 'SORT', inputStage: fetched }
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
    const reply: Reply = { explainVersion: '1', queryPlanner: { winningPlan: stagesOf(plan, query) } }
    if (outer.body.get('verbosity') === 'queryPlanner') return reply
    const examined = nothing()
    const nReturned = source === undefined ? 0 : lengthOf(findRecords(source, query, examined, plan))
    return {
      ...reply,
      executionStats: {
        nReturned,
        totalKeysExamined: examined.keys,
        totalDocsExamined: examined.docs
      }
    }
  }
}

export const explainCommands: CommandTable = { explain }
