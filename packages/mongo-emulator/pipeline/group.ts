import { equalValues } from '../compare.js'
import { CommandError } from '../errors.js'
import { compileExpression } from '../expressions/compile.js'
import type { Environment } from '../expressions/types.js'
import { encodeComponent } from '../key-encoding.js'
import { isDoc, type Value } from '../values.js'
import { compileAccumulator, type Accumulator } from './accumulators.js'
import type { Stage } from './types.js'

interface Group { id: Value, fields: Map<string, Accumulator> }

/** `$group`: equal keys are one group whatever their number type; a missing key counts as null. */
export function group (spec: Value, environment: Environment): Stage {
  if (!isDoc(spec)) throw new CommandError(15947, 'a group\'s fields must be specified in an object')
  const fields = [...spec].filter(([name]) => name !== '_id').map(([name, operand]) => {
    if (name.includes('.')) throw new CommandError(40235, `The field name '${name}' cannot contain '.'`)
    return [name, compileAccumulator(name, operand, environment)] as const
  })
  if (!spec.has('_id')) throw new CommandError(15955, 'a group specification must include an _id')
  const key = compileExpression(spec.get('_id') ?? null, environment)
  return function * (input) {
    const groups = new Map<string, Group[]>()
    for (const doc of input) {
      const found = groupOf(groups, key(environment.scope(doc)) ?? null, () =>
        new Map(fields.map(([name, create]) => [name, create()])))
      for (const accumulator of found.fields.values()) accumulator.add(doc)
    }
    for (const { id, fields } of [...groups.values()].flat()) {
      yield new Map<string, Value>([['_id', id], ...[...fields].map(([name, { result }]) => [name, result()] as const)])
    }
  }
}

function groupOf (groups: Map<string, Group[]>, id: Value, createFields: () => Map<string, Accumulator>): Group {
  const hash = encodeComponent(id).bytes.toString('latin1')
  const candidates = groups.get(hash) ?? []
  const found = candidates.find(candidate => equalValues(candidate.id, id))
  if (found !== undefined) return found
  const created = { id, fields: createFields() }
  groups.set(hash, [...candidates, created])
  return created
}
