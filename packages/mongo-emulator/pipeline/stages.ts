import { CommandError } from '../errors.js'
import { compileExpression } from '../expressions/compile.js'
import { scopeOf } from '../expressions/types.js'
import { take } from '../iterate.js'
import { parseFilter } from '../match-parse.js'
import { matches } from '../match.js'
import { toSafeInteger } from '../numbers.js'
import { isDoc, isNumeric, typeName, type Value } from '../values.js'
import type { Stage } from './compile.js'
import { group } from './group.js'

function match (operand: Value): Stage {
  if (!isDoc(operand)) throw new CommandError(15959, 'the match filter must be an expression in an object')
  const filter = parseFilter(operand)
  return function * (input) {
    for (const doc of input) if (matches(filter, doc)) yield doc
  }
}

function limit (operand: Value): Stage {
  const number = isNumeric(operand) ? toSafeInteger(operand) : undefined
  if (number === undefined || number < 1) {
    throw new CommandError(
      15958,
      `invalid argument to $limit stage: Expected a positive number in: $limit: ${String(operand)}`
    )
  }
  return input => take(input, number)
}

function replaceWith (expression: Value, now: Date): Stage {
  const evaluate = compileExpression(expression)
  return function * (input) {
    for (const doc of input) {
      const result = evaluate(scopeOf(doc, now))
      if (!isDoc(result)) {
        throw new CommandError(
          40228,
          `'newRoot' expression must evaluate to an object, but resulting value was: ${typeName(result)}`
        )
      }
      yield result
    }
  }
}

/** The stages this server knows, by name. Others are refused with MongoDB's code for an unknown stage. */
export const stages: Record<string, (operand: Value, now: Date) => Stage> = {
  $match: match,
  $limit: limit,
  $group: group,
  $replaceWith: replaceWith
}
