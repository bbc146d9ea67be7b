import { Int32 } from 'bson'
import { compareValues } from '../compare.js'
import { CommandError } from '../errors.js'
import { isDoc, isNullish, isTruthy, type Value } from '../values.js'
import { arity, named, variadic } from './operands.js'
import { bind, type Operator } from './types.js'

/** Expressions order a missing field below everything, null included. */
export function compareOperands (a: Value | undefined, b: Value | undefined): number {
  if (a === undefined || b === undefined) {
    return Number(b === undefined) - Number(a === undefined) === 0 ? 0 : a === undefined ? -1 : 1
  }
  return compareValues(a, b)
}

const comparison = (accepts: (order: number) => boolean) => arity(2, 2, (a, b) => accepts(compareOperands(a, b)))

const condition: Operator = (operand, compile, name) => {
  const parts = isDoc(operand)
    ? [operand.get('if'), operand.get('then'), operand.get('else')]
    : Array.isArray(operand) ? operand : []
  if (parts.length !== 3 || parts.includes(undefined)) {
    throw new CommandError(16020, `Expression ${name} takes exactly 3 arguments. ${parts.length} were passed in.`)
  }
  const [test, then, otherwise] = parts.map(part => compile(part ?? null))
  return scope => isTruthy(test?.(scope)) ? then?.(scope) : otherwise?.(scope)
}

export const conditions = {
  $eq: comparison(order => order === 0),
  $ne: comparison(order => order !== 0),
  $lt: comparison(order => order < 0),
  $lte: comparison(order => order <= 0),
  $gt: comparison(order => order > 0),
  $gte: comparison(order => order >= 0),
  $cmp: arity(2, 2, (a, b) => new Int32(Math.sign(compareOperands(a, b)))),
  $and: variadic(values => values.every(isTruthy)),
  $or: variadic(values => values.some(isTruthy)),
  $not: arity(1, 1, value => !isTruthy(value)),
  $cond: condition,
  $ifNull: variadic(values => values.find(value => !isNullish(value)) ?? values.at(-1)),
  $switch: named(['branches'], ['default'], (fields, compile) => {
    const list = fields.get('branches')
    if (!Array.isArray(list)) throw new CommandError(40060, "$switch expected an array for 'branches'")
    const branches = list.map(branch => {
      if (!isDoc(branch)) throw new CommandError(40062, '$switch expected each branch to be an object')
      return { test: compile(branch.get('case') ?? null), then: compile(branch.get('then') ?? null) }
    })
    const otherwise = fields.has('default') ? compile(fields.get('default') ?? null) : undefined
    return scope => {
      const branch = branches.find(({ test }) => isTruthy(test(scope)))
      if (branch === undefined && otherwise === undefined) {
        throw new CommandError(
          40066,
          '$switch could not find a matching branch for an input, and no default was specified.'
        )
      }
      return branch === undefined ? otherwise?.(scope) : branch.then(scope)
    }
  }),
  $let: named(['vars', 'in'], [], (fields, compile) => {
    const given = fields.get('vars')
    const variables = isDoc(given) ? [...given].map(([name, value]) => [name, compile(value)] as const) : []
    const body = compile(fields.get('in') ?? null, variables.map(([name]) => name))
    return scope => body(variables.reduce((inner, [name, evaluate]) => bind(inner, name, evaluate(scope)), scope))
  })
}
