import { CommandError } from '../errors.js'
import { compileExpression } from '../expressions/compile.js'
import { createEnvironment } from '../expressions/types.js'
import { valuesAt } from '../paths.js'
import { isDoc, type Doc, type Value } from '../values.js'
import type { Stage, StageContext } from './types.js'

const known = new Set(['from', 'localField', 'foreignField', 'as', 'let', 'pipeline'])

function text (spec: Doc, name: string): string | undefined {
  const value = spec.get(name)
  if (value !== undefined && typeof value !== 'string') {
    throw new CommandError(4570, `$lookup argument '${name}' must be a string`)
  }
  return value
}

/** `$lookup` within one database: by equal fields, by a pipeline with `let`, or both. */
export function lookupStage (spec: Value, context: StageContext): Stage {
  if (!isDoc(spec)) throw new CommandError(9, 'the $lookup specification must be an Object')
  for (const name of spec.keys()) {
    if (!known.has(name)) throw new CommandError(9, `unknown argument to $lookup: ${name}`)
  }
  const [from, local, foreign, as] = ['from', 'localField', 'foreignField', 'as'].map(name => text(spec, name))
  if (from === undefined || as === undefined) {
    throw new CommandError(9, "must specify 'as' and 'from' fields for a $lookup")
  }
  if ((local === undefined) !== (foreign === undefined)) {
    throw new CommandError(9, '$lookup requires both or neither of localField and foreignField to be specified')
  }
  const pipeline = spec.get('pipeline') ?? []
  if (!Array.isArray(pipeline)) throw new CommandError(9, "'pipeline' option must be specified as an array")
  const given = spec.get('let')
  const variables = isDoc(given)
    ? [...given].map(([name, value]) => [name, compileExpression(value, context.environment)] as const)
    : []
  return function * (input) {
    for (const doc of input) {
      const filter = local === undefined || foreign === undefined ? new Map() : joinFilter(doc, local, foreign)
      const scope = context.environment.scope(doc)
      const inner = createEnvironment(context.environment.now, new Map([...context.environment.variables,
        ...variables.map(([name, evaluate]) => [name, evaluate(scope) ?? null] as const)]))
      const found = context.compile(pipeline, { ...context, environment: inner })(context.query(from, filter, inner))
      yield new Map<string, Value>([...doc, [as, [...found]]])
    }
  }
}

function joinFilter (doc: Doc, local: string, foreign: string): Doc {
  const found = valuesAt(doc, local.split('.')).flatMap(value => Array.isArray(value) ? value : [value])
  const values = found.length === 0 ? [null] : found
  return new Map<string, Value>([
    [foreign, values.length === 1 ? new Map<string, Value>([['$eq', values[0] ?? null]]) : new Map([['$in', values]])]
  ])
}
