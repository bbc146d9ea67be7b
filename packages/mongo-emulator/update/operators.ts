import { Int32, Timestamp } from 'bson'
import { compareValues, equalValues } from '../compare.js'
import { describe } from '../describe.js'
import { badValue, failedToParse, typeMismatch } from '../errors.js'
import type { Environment } from '../expressions/types.js'
import { operators as queryOperators } from '../match-operators.js'
import { memberTest } from '../match-parse.js'
import { combine, fromBigInt, toBigInt } from '../numbers.js'
import { cloneValue, isDoc, isNumeric, toNumber, typeName, type Value } from '../values.js'
import { parsePush, push } from './push.js'

/** The field that a modifier changes. */
export interface FieldContext {
  current: Value | undefined
  name: string
  id: Value | undefined
  inserting: boolean
  environment: Environment
}

/** The new value of a field, `undefined` to leave it as it is. */
export type Modifier = (context: FieldContext) => Value | undefined

/** Checks an operand once; the modifier then runs for every document. */
export type ModifierFactory = (operand: Value, name: string, environment: Environment) => Modifier

const arithmetic = (operator: '$inc' | '$mul'): ModifierFactory => (operand, name) => {
  const verb = operator === '$inc' ? 'increment' : 'multiply'
  if (!isNumeric(operand)) {
    throw typeMismatch(`Cannot ${verb} with non-numeric argument: {${name}: ${describe(operand)}}`)
  }
  return ({ current, id }) => {
    if (current === undefined) return operator === '$inc' ? operand : combine('multiply', operand, new Int32(0))
    if (!isNumeric(current)) {
      throw typeMismatch(
        `Cannot apply ${operator} to a value of non-numeric type. {_id: ${describe(id)}} has the field '${name.split('.').at(-1)}' of non-numeric type ${typeName(current)}`
      )
    }
    const result = combine(operator === '$inc' ? 'add' : 'multiply', current, operand)
    if (result === undefined) {
      throw badValue(
        `Failed to apply ${operator} operations to current value (${describe(current)}) for document {_id: ${describe(id)}}`
      )
    }
    return result
  }
}

const extreme = (sign: 1 | -1): ModifierFactory => operand => ({ current }) =>
  current === undefined || compareValues(operand, current) * sign > 0 ? operand : undefined

const currentDate: ModifierFactory = operand => {
  const type = isDoc(operand) ? operand.get('$type') : operand === true || operand === false ? 'date' : undefined
  if (type !== 'date' && type !== 'timestamp') {
    throw badValue(isDoc(operand)
      ? "The '$type' string field is required to be 'date' or 'timestamp': {$currentDate: {field : {$type: 'date'}}}"
      : `${typeName(operand)} is not valid type for $currentDate. Please use a boolean ('true') or a $type expression ({$type: 'timestamp/date'}).`)
  }
  return ({ environment: { now } }) => type === 'date'
    ? new Date(now)
    : new Timestamp({ t: Math.floor(now.getTime() / 1000), i: 1 })
}

const arrayOf = (operator: string, { current, name, id }: FieldContext): Value[] => {
  if (Array.isArray(current)) return current
  throw badValue(operator === '$push'
    ? `The field '${name}' must be an array but is of type ${typeName(current)} in document {_id: ${describe(id)}}`
    : `Cannot apply ${operator} to a non-array value`)
}

const addToSet: ModifierFactory = (operand, name) => {
  const each = isDoc(operand) && operand.has('$each') ? operand.get('$each') : [operand]
  if (!Array.isArray(each)) {
    throw typeMismatch(`The argument to $each in $addToSet must be an array but it was of type ${typeName(each)}`)
  }
  return context => {
    if (context.current !== undefined && !Array.isArray(context.current)) {
      throw badValue(
        `Cannot apply $addToSet to non-array field. Field named '${name.split('.').at(-1)}' has non-array type ${typeName(context.current)}`
      )
    }
    const result = [...context.current ?? []]
    for (const item of each) {
      if (!result.some(member => equalValues(member, item))) result.push(item)
    }
    return result
  }
}

const pull: ModifierFactory = (operand, _name, environment) => {
  const test = isDoc(operand) ? memberTest(operand, environment) : queryOperators.$in('', [operand]).test
  return context => context.current === undefined
    ? undefined
    : arrayOf('$pull', context).filter(member =>
      !(isDoc(operand) && !isOperator(operand) ? isDoc(member) && test(member) : test(member)))
}

const isOperator = (operand: Map<string, Value>): boolean => [...operand.keys()][0]?.startsWith('$') === true

const pullAll: ModifierFactory = operand => {
  if (!Array.isArray(operand)) {
    throw badValue(`$pullAll requires an array argument but was given a ${typeName(operand)}`)
  }
  return context => context.current === undefined
    ? undefined
    : arrayOf('$pullAll', context).filter(member => !operand.some(item => equalValues(item, member)))
}

const pop: ModifierFactory = operand => {
  const end = isNumeric(operand) ? toNumber(operand) : NaN
  if (end !== 1 && end !== -1) throw failedToParse(`$pop expects 1 or -1, found: ${describe(operand)}`)
  return context => {
    if (context.current === undefined) return undefined
    if (!Array.isArray(context.current)) {
      throw typeMismatch(`Path '${context.name}' contains an element of non-array type '${typeName(context.current)}'`)
    }
    return end === 1 ? context.current.slice(0, -1) : context.current.slice(1)
  }
}

const bit: ModifierFactory = (operand, name) => {
  if (!isDoc(operand) || operand.size === 0) {
    throw badValue(
      `The $bit modifier is not compatible with a ${typeName(operand)}. You must pass in an embedded document: {$bit: {field: {and/or/xor: #}}`
    )
  }
  for (const [operation, argument] of operand) {
    if (!['and', 'or', 'xor'].includes(operation)) {
      throw badValue(
        `The $bit modifier only supports 'and', 'or', and 'xor', not '${operation}' which is an unknown operator: {${operation}: ${describe(argument)}}`
      )
    }
    if (typeof argument !== 'bigint' && !(argument instanceof Int32)) {
      throw badValue(
        `The $bit modifier field must be an Integer(32/64 bit); a '${typeName(argument)}' is not supported here: {${operation}: ${describe(argument)}}`
      )
    }
  }
  return ({ current = new Int32(0), id }) => {
    if (typeof current !== 'bigint' && !(current instanceof Int32)) {
      throw badValue(
        `Cannot apply $bit to a value of non-integral type.{_id: ${describe(id)}} has the field ${name} of non-integer type ${typeName(current)}`
      )
    }
    return [...operand].reduce<Value>((bits, [operation, argument]) => combineBits(operation, bits, argument), current)
  }
}

function combineBits (operation: string, a: Value, b: Value): Value {
  if ((typeof a !== 'bigint' && !(a instanceof Int32)) || (typeof b !== 'bigint' && !(b instanceof Int32))) return a
  const [x, y] = [toBigInt(a), toBigInt(b)]
  return fromBigInt(
    operation === 'and' ? x & y : operation === 'or' ? x | y : x ^ y,
    a instanceof Int32 && b instanceof Int32
  ) ??
    a
}

/** The update operators that change one field by its own value; `$unset` and `$rename` are handled with the paths. */
export const modifiers: Record<string, ModifierFactory> = {
  $set: operand => () => cloneValue(operand),
  $setOnInsert: operand => ({ inserting }) => inserting ? cloneValue(operand) : undefined,
  $inc: arithmetic('$inc'),
  $mul: arithmetic('$mul'),
  $min: extreme(-1),
  $max: extreme(1),
  $currentDate: currentDate,
  $addToSet: addToSet,
  $pull: pull,
  $pullAll: pullAll,
  $pop: pop,
  $bit: bit,
  $push: (operand) => {
    const spec = parsePush(operand)
    return context => push(context.current === undefined ? [] : arrayOf('$push', context), spec)
  }
}
