import { Int32 } from 'bson'
import { compareValues, equalValues } from '../compare.js'
import { CommandError } from '../errors.js'
import { compileExpression } from '../expressions/compile.js'
import { sum } from '../expressions/operators.js'
import { scopeOf, type Evaluate } from '../expressions/types.js'
import { encodeComponent } from '../key-encoding.js'
import { isDoc, isNullish, isNumeric, type Value } from '../values.js'
import type { Stage } from './compile.js'

type Fold = (so: Value, value: Value | undefined) => Value

interface Accumulator { start: Value, fold: Fold }

interface Field extends Accumulator { name: string, operand: Evaluate }

interface Group { id: Value, values: Value[] }

/** The least or greatest of values that are not null. */
const extreme = (sign: 1 | -1): Fold => (so, value) =>
  isNullish(value) || (so !== null && compareValues(value, so) * sign <= 0) ? so : value

const accumulators: Record<string, Accumulator> = {
  $sum: { start: new Int32(0), fold: (so, value) => isNumeric(so) && isNumeric(value) ? sum(so, value) : so },
  $min: { start: null, fold: extreme(-1) },
  $max: { start: null, fold: extreme(1) }
}

/** `$group`: equal keys are one group whatever their number type; a missing key counts as null. */
export function group (spec: Value, now: Date): Stage {
  if (!isDoc(spec)) throw new CommandError(15947, 'a group\'s fields must be specified in an object')
  if (!spec.has('_id')) throw new CommandError(15955, 'a group specification must include an _id')
  const fields = [...spec].filter(([name]) => name !== '_id').map(([name, operand]) => fieldOf(name, operand))
  const key = compileExpression(spec.get('_id') ?? null)
  return function * (input) {
    const groups = new Map<string, Group[]>()
    for (const doc of input) {
      const scope = scopeOf(doc, now)
      const found = groupOf(groups, key(scope) ?? null, fields)
      fields.forEach(({ fold, operand }, at) => { found.values[at] = fold(found.values[at] ?? null, operand(scope)) })
    }
    for (const { id, values } of [...groups.values()].flat()) {
      yield new Map([['_id', id], ...fields.map(({ name }, at): [string, Value] => [name, values[at] ?? null])])
    }
  }
}

function fieldOf (name: string, spec: Value): Field {
  if (name.includes('.')) throw new CommandError(40235, `The field name '${name}' cannot contain '.'`)
  if (!isDoc(spec)) throw new CommandError(40234, `The field '${name}' must be an accumulator object`)
  const [[operator, operand] = ['', null], ...others] = spec
  if (others.length > 0) throw new CommandError(40238, `The field '${name}' must specify one accumulator`)
  const accumulator = Object.hasOwn(accumulators, operator) ? accumulators[operator] : undefined
  if (accumulator === undefined) throw new CommandError(15952, `unknown group operator '${operator}'`)
  return { name, operand: compileExpression(operand), ...accumulator }
}

function groupOf (groups: Map<string, Group[]>, id: Value, fields: Field[]): Group {
  const hash = encodeComponent(id).toString('latin1')
  const candidates = groups.get(hash) ?? []
  const found = candidates.find(candidate => equalValues(candidate.id, id))
  if (found !== undefined) return found
  const created = { id, values: fields.map(({ start }) => start) }
  groups.set(hash, [...candidates, created])
  return created
}
