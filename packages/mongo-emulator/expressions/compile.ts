import { CommandError } from '../errors.js'
import { isDoc, type Doc, type Value } from '../values.js'
import { operators } from './operators.js'
import type { Evaluate } from './types.js'

/**
 * Compiles an aggregation expression (MongoDB manual, "Expression Operators").
 * Throws CommandError for unknown operators and malformed operands; evaluating may throw as MongoDB does.
 */
export function compileExpression (expression: Value): Evaluate {
  if (typeof expression === 'string' && expression.startsWith('$')) return compilePath(expression)
  if (Array.isArray(expression)) {
    const items = expression.map(compileExpression)
    return scope => items.map(item => item(scope) ?? null)
  }
  if (isDoc(expression)) return compileDoc(expression)
  return () => expression
}

function compilePath (expression: string): Evaluate {
  const path = expression.startsWith('$$') ? expression.slice(2) : `ROOT.${expression.slice(1)}`
  const [variable = '', ...parts] = path.split('.')
  if (expression === '$') throw new CommandError(16872, "'$' by itself is not a valid FieldPath")
  if (parts.includes('')) throw new CommandError(15998, 'FieldPath field names may not be empty strings.')
  return scope => {
    if (!scope.has(variable)) throw new CommandError(17276, `Use of undefined variable: ${variable}`)
    return resolve(scope.get(variable), parts)
  }
}

/** Follows a path as expressions do: every array is mapped over its documents, numbers are names only. */
function resolve (value: Value | undefined, parts: string[], at = 0): Value | undefined {
  const part = parts[at]
  if (part === undefined) return value
  if (isDoc(value)) return resolve(value.get(part), parts, at + 1)
  if (!Array.isArray(value)) return undefined
  return value.flatMap(item => {
    const found = isDoc(item) || Array.isArray(item) ? resolve(item, parts, at) : undefined
    return found === undefined ? [] : [found]
  })
}

function compileDoc (expression: Doc): Evaluate {
  const [first] = expression.keys()
  if (first?.startsWith('$') === true) {
    if (expression.size > 1) {
      throw new CommandError(
        15983,
        `An object representing an expression must have exactly one field: { ${[...expression.keys()].join(', ')} }`
      )
    }
    return compileOperator(first, expression.get(first) ?? null)
  }
  const fields = [...expression].map(([name, value]) => [name, compileExpression(value)] as const)
  return scope => {
    const doc: Doc = new Map()
    for (const [name, evaluate] of fields) {
      const value = evaluate(scope)
      if (value !== undefined) doc.set(name, value)
    }
    return doc
  }
}

function compileOperator (name: string, operand: Value): Evaluate {
  const operator = Object.hasOwn(operators, name) ? operators[name] : undefined
  if (operator === undefined) throw new CommandError(168, `Unrecognized expression '${name}'`)
  return operator(operand, compileExpression)
}
