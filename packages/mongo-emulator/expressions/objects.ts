import { encode } from '../encode.js'
import { CommandError } from '../errors.js'
import { fromInteger, isDoc, isNullish, typeName, type Doc, type Value } from '../values.js'
import { arity, strict, variadic } from './operands.js'
import { lookup, type Operator } from './types.js'

function pairs (value: Value): Doc {
  if (!Array.isArray(value)) {
    throw new CommandError(40386, `$arrayToObject requires an array input, found: ${typeName(value)}`)
  }
  return new Map(value.map(item => {
    const [key, content] = Array.isArray(item) ? item : isDoc(item) ? [item.get('k'), item.get('v')] : []
    if (typeof key !== 'string') throw new CommandError(40394, '$arrayToObject requires string keys')
    return [key, content ?? null]
  }))
}

const getField: Operator = (operand, compile) => {
  const isNamed = isDoc(operand) && operand.has('field')
  const field = compile(isNamed ? operand.get('field') ?? null : operand)
  const input = isNamed && operand.has('input') ? compile(operand.get('input') ?? null) : undefined
  return scope => {
    const source = input === undefined ? lookup(scope, 'ROOT') : input(scope)
    const name = field(scope)
    if (typeof name !== 'string') {
      throw new CommandError(
        3041704,
        `$getField requires 'field' to evaluate to type String, but got ${typeName(name)}`
      )
    }
    return isDoc(source) ? source.get(name) : isNullish(source) && source !== undefined ? null : undefined
  }
}

const setField = (removes: boolean): Operator => (operand, compile, name) => {
  if (!isDoc(operand)) throw new CommandError(4161100, `${name} only supports an object as its argument`)
  const [field, input, value] = ['field', 'input', 'value'].map(part => compile(operand.get(part) ?? null))
  return scope => {
    const source = input?.(scope)
    if (isNullish(source)) return null
    const key = field?.(scope)
    if (!isDoc(source) || typeof key !== 'string') {
      throw new CommandError(4161105, `${name} requires 'input' to evaluate to type Object`)
    }
    const result = new Map(source)
    const content = removes ? undefined : value?.(scope)
    if (content === undefined) result.delete(key)
    else result.set(key, content)
    return result
  }
}

export function mergeAll (values: (Value | undefined)[]): Doc {
  const merged: Doc = new Map()
  for (const value of values) {
    if (isNullish(value)) continue
    if (!isDoc(value)) {
      throw new CommandError(40400, `$mergeObjects requires object inputs, but input is of type ${typeName(value)}`)
    }
    for (const [name, content] of value) merged.set(name, content)
  }
  return merged
}

export const objects = {
  $literal: ((operand: Value) => () => operand) satisfies Operator,
  $mergeObjects: variadic(values => mergeAll(values.length === 1 && Array.isArray(values[0]) ? values[0] : values)),
  $objectToArray: strict(1, 1, value => {
    if (!isDoc(value)) {
      throw new CommandError(40390, `$objectToArray requires a document input, found: ${typeName(value)}`)
    }
    return [...value].map(([k, v]) => new Map<string, Value>([['k', k], ['v', v]]))
  }),
  $arrayToObject: strict(1, 1, pairs),
  $getField: getField,
  $setField: setField(false),
  $unsetField: setField(true),
  $bsonSize: arity(1, 1, value => {
    if (isNullish(value)) return null
    if (!isDoc(value)) throw new CommandError(31393, `$bsonSize requires a document input, found: ${typeName(value)}`)
    return fromInteger(encode(value).length)
  })
}
