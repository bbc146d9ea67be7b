import { CommandError } from '../errors.js'
import { isDoc, isNullish, type Doc, type Value } from '../values.js'
import type { Compile, Evaluate, Operator } from './types.js'

type Values = (Value | undefined)[]

const listOf = (operand: Value): Value[] => Array.isArray(operand) ? operand : [operand]

/** An operator over any number of operands, evaluated before it is called. */
export const variadic = (apply: (values: Values, name: string) => Value | undefined): Operator => (
  operand,
  compile,
  name
) => {
  const items = listOf(operand).map(item => compile(item))
  return scope => apply(items.map(item => item(scope)), name)
}

/** An operator over a number of operands between two bounds. */
export const arity = (least: number, most: number, apply: (...values: Values) => Value | undefined): Operator => (
  operand,
  compile,
  name
) => {
  const list = listOf(operand)
  if (list.length < least || list.length > most) {
    const expected = least === most
      ? `takes exactly ${least} arguments`
      : `takes at least ${least} arguments, and at most ${most}`
    throw new CommandError(16020, `Expression ${name} ${expected}. ${list.length} were passed in.`)
  }
  const items = list.map(item => compile(item))
  return scope => apply(...items.map(item => item(scope)))
}

/** As `arity`, but null or missing operands make the result null. */
export const strict = (least: number, most: number, apply: (...values: Value[]) => Value | undefined): Operator =>
  arity(least, most, (...values) => values.some(isNullish) ? null : apply(...values as Value[]))

/** An operator whose operand is a document of named arguments. */
export const named = (
  required: string[],
  optional: string[],
  apply: (fields: Doc, compile: Compile) => Evaluate
): Operator => (
  operand,
  compile,
  name
) => {
  if (!isDoc(operand)) throw new CommandError(28646, `${name} only supports an object as its argument`)
  for (const field of operand.keys()) {
    if (!required.includes(field) && !optional.includes(field)) {
      throw new CommandError(28647, `Unrecognized parameter to ${name}: ${field}`)
    }
  }
  for (const field of required) {
    if (!operand.has(field)) throw new CommandError(28648, `Missing '${field}' parameter to ${name}`)
  }
  return apply(operand, compile)
}
