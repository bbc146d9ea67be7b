import { compareValues } from '../compare.js'
import { describe } from '../describe.js'
import { badValue, typeMismatch } from '../errors.js'
import { operators as queryOperators } from '../match-operators.js'
import { isOperatorDoc, memberTest } from '../match-parse.js'
import { add, toSafeInteger } from '../numbers.js'
import { cloneValue, isDoc, isNumeric, typeName, type Value } from '../values.js'

/** The field that a modifier changes. */
export interface FieldContext {
  current: Value | undefined
  name: string
  id: Value | undefined
  inserting: boolean
}

/** The new value of a field, `undefined` to leave it as it is. */
export type Modifier = (context: FieldContext) => Value | undefined

/** Checks an operand once; the modifier then runs for every document. */
export type ModifierFactory = (operand: Value, name: string) => Modifier

const increment: ModifierFactory = (operand, name) => {
  if (!isNumeric(operand)) {
    throw typeMismatch(`Cannot increment with non-numeric argument: {${name}: ${describe(operand)}}`)
  }
  return ({ current, id }) => {
    if (current === undefined) return operand
    if (!isNumeric(current)) {
      throw typeMismatch(
        `Cannot apply $inc to a value of non-numeric type. {_id: ${describe(id)}} has the field '${name.split('.').at(-1)}' of non-numeric type ${typeName(current)}`
      )
    }
    const result = add(current, operand)
    if (result !== undefined) return result
    throw badValue(
      `Failed to apply $inc operations to current value (${describe(current)}) for document {_id: ${describe(id)}}`
    )
  }
}

const extreme = (sign: 1 | -1): ModifierFactory => operand => ({ current }) =>
  current === undefined || compareValues(operand, current) * sign > 0 ? operand : undefined

const pull: ModifierFactory = operand => {
  const test = isDoc(operand) ? memberTest(operand) : queryOperators.$in('', [operand]).test
  return ({ current }) => {
    if (current === undefined) return undefined
    if (!Array.isArray(current)) throw badValue('Cannot apply $pull to a non-array value')
    return current.filter(member =>
      !(isDoc(operand) && !isOperatorDoc(operand) ? isDoc(member) && test(member) : test(member)))
  }
}

const clauses = new Set(['$each', '$slice'])

/** `$push` of a value, or of `{ $each, $slice }`. */
const push: ModifierFactory = operand => {
  const spec: Map<string, Value> = isDoc(operand) && operand.has('$each') ? operand : new Map([['$each', [operand]]])
  for (const clause of spec.keys()) {
    if (!clauses.has(clause)) throw badValue(`Unrecognized clause in $push: ${clause}`)
  }
  const each = spec.get('$each')
  const given = spec.get('$slice')
  if (!Array.isArray(each)) {
    throw badValue(`The argument to $each in $push must be an array but it was of type: ${typeName(each)}`)
  }
  const slice = isNumeric(given) ? toSafeInteger(given) : undefined
  if (given !== undefined && slice === undefined) {
    throw badValue(`The value for $slice must be an integer value but was given type: ${typeName(given)}`)
  }
  return ({ current = [], name, id }) => {
    if (!Array.isArray(current)) {
      throw badValue(
        `The field '${name}' must be an array but is of type ${typeName(current)} in document {_id: ${describe(id)}}`
      )
    }
    const result = [...current, ...each]
    if (slice === undefined) return result
    return slice >= 0 ? result.slice(0, slice) : result.slice(slice)
  }
}

/** The update operators that change one field by its own value; `$unset` is handled with the paths. */
export const modifiers: Record<string, ModifierFactory> = {
  $set: operand => () => cloneValue(operand),
  $setOnInsert: operand => ({ inserting }) => inserting ? cloneValue(operand) : undefined,
  $inc: increment,
  $min: extreme(-1),
  $max: extreme(1),
  $pull: pull,
  $push: push
}
