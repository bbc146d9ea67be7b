import { BSONRegExp, Decimal128, Int32 } from 'bson'
import { Context, evalExpr } from 'mingo/core'
import * as bitwise from 'mingo/operators/expression/bitwise'
import * as date from 'mingo/operators/expression/date'
import * as misc from 'mingo/operators/expression'
import * as string from 'mingo/operators/expression/string'
import * as trigonometry from 'mingo/operators/expression/trignometry'
import { CommandError } from '../errors.js'
import { compileRegex } from '../regex.js'
import { fromInteger, isDoc, isNumeric, toNumber, type Value } from '../values.js'
import type { Operator } from './types.js'

const context = Context.init({
  expression: { $literal: misc.$literal, ...bitwise, ...date, ...string, ...trigonometry }
})
const names = new Set([bitwise, date, string, trigonometry].flatMap(table => Object.keys(table)))
const options = {
  context,
  idKey: '_id',
  processingMode: 0,
  useStrictMode: true,
  scriptEnabled: false,
  failOnError: true
}

/**
 * Operators over strings, dates and plain numbers, which mingo computes. Their operands are evaluated here, where BSON
 * types are kept apart, and passed on as JavaScript values. Undefined for an operator that mingo does not have.
 */
export function delegated (name: string): Operator | undefined {
  if (!names.has(name)) return undefined
  return (operand, compile) => {
    const evaluate = compile(operand)
    return scope => {
      try {
        return fromPlain(evalExpr({}, { [name]: toPlain(evaluate(scope) ?? null) }, options))
      } catch (error) {
        throw new CommandError(2, `${name}: ${error instanceof Error ? error.message : ''}`)
      }
    }
  }
}

function toPlain (value: Value): unknown {
  if (typeof value === 'string') return value.startsWith('$') ? { $literal: value } : value
  if (isNumeric(value)) return toNumber(value)
  if (value instanceof BSONRegExp) return compileRegex(value)
  if (Array.isArray(value)) return value.map(toPlain)
  if (isDoc(value)) return Object.fromEntries([...value].map(([name, content]) => [name, toPlain(content)]))
  return value
}

function fromPlain (value: unknown): Value | undefined {
  if (value === undefined || value === null) return null
  if (typeof value === 'number') return Number.isSafeInteger(value) ? fromInteger(value) : value
  if (typeof value === 'string' || typeof value === 'boolean' || typeof value === 'bigint') return value
  if (Array.isArray(value)) return value.map(item => fromPlain(item) ?? null)
  if (value instanceof Date || value instanceof Int32 || value instanceof Decimal128) return value
  return new Map(Object.entries(value).map(([name, content]) => [name, fromPlain(content) ?? null]))
}
