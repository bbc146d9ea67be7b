import { Int32 } from 'bson'
import { compareValues, equalValues } from '../compare.js'
import { CommandError } from '../errors.js'
import { averageOf, sumOf } from '../expressions/arithmetic.js'
import { extreme } from '../expressions/arrays.js'
import { compileExpression } from '../expressions/compile.js'
import { mergeAll } from '../expressions/objects.js'
import type { Environment } from '../expressions/types.js'
import { compareKeys, parseSort, sortKeys } from '../sort.js'
import { isDoc, isNullish, isNumeric, toNumber, typeName, type Doc, type Value } from '../values.js'

/** Collects the documents of one group; `result` closes it. */
export interface Accumulator { add: (doc: Doc) => void, result: () => Value }

type Values = (Value | undefined)[]

const reduced: Record<string, (values: Values) => Value> = {
  $avg: averageOf,
  $push: values => values.filter(value => value !== undefined),
  $addToSet: values => values.reduce<Value[]>((set, value) => {
    if (value !== undefined && !set.some(member => equalValues(member, value))) set.push(value)
    return set
  }, []),
  $mergeObjects: mergeAll,
  $stdDevPop: values => deviation(values, 0),
  $stdDevSamp: values => deviation(values, 1)
}

/** Accumulators whose state is one value. */
const folded: Record<string, { start: Value, fold: (so: Value, value: Value | undefined) => Value }> = {
  $sum: { start: new Int32(0), fold: (so, value) => sumOf([so, value]) },
  $min: { start: null, fold: (so, value) => extreme([so, value], -1) },
  $max: { start: null, fold: (so, value) => extreme([so, value], 1) }
}

function deviation (values: Values, less: number): Value {
  const numbers = values.filter(isNumeric).map(toNumber)
  if (numbers.length <= less) return null
  const mean = numbers.reduce((a, b) => a + b, 0) / numbers.length
  return Math.sqrt(numbers.reduce((so, number) => so + (number - mean) ** 2, 0) / (numbers.length - less))
}

/** Compiles one accumulated field of `$group` (MongoDB manual, "Accumulators ($group)"). */
export function compileAccumulator (field: string, spec: Value, environment: Environment): () => Accumulator {
  if (!isDoc(spec)) throw new CommandError(40234, `The field '${field}' must be an accumulator object`)
  const [name = ''] = spec.keys()
  if (spec.size !== 1) throw new CommandError(40238, `The field '${field}' must specify one accumulator`)
  const operand = spec.get(name) ?? null
  if (name === '$count') return () => counting()
  if (/^\$(top|bottom|first|last|min|max)(N?)$/.test(name) &&
    isDoc(operand) &&
    (operand.has('n') || operand.has('sortBy'))) {
    return several(name, operand, environment)
  }
  const evaluate = compileExpression(operand, environment)
  const valueOf = (doc: Doc) => evaluate(environment.scope(doc))
  if (name === '$first' || name === '$last') return () => edge(name, valueOf)
  const fold = folded[name]
  if (fold !== undefined) return () => folding(fold, valueOf)
  const reduce = reduced[name]
  if (reduce === undefined) throw new CommandError(15952, `unknown group operator '${name}'`)
  return () => {
    const values: Values = []
    return { add: doc => { values.push(valueOf(doc)) }, result: () => reduce(values) }
  }
}

function counting (): Accumulator {
  let count = 0
  return { add: () => { count++ }, result: () => new Int32(count) }
}

function folding (
  { start, fold }: { start: Value, fold: (so: Value, value: Value | undefined) => Value },
  valueOf: (doc: Doc) => Value | undefined
): Accumulator {
  let so = start
  return { add: doc => { so = fold(so, valueOf(doc)) }, result: () => so }
}

function edge (name: '$first' | '$last', valueOf: (doc: Doc) => Value | undefined): Accumulator {
  let kept: Value | undefined
  return {
    add: doc => { if (name === '$last' || kept === undefined) kept = valueOf(doc) ?? null },
    result: () => kept ?? null
  }
}

/**
 * `$firstN`, `$lastN`, `$minN`, `$maxN` over `input`; `$top`, `$bottom` and theirs with N over `output` by `sortBy`.
 */
function several (name: string, operand: Doc, environment: Environment): () => Accumulator {
  const count = compileExpression(operand.get('n') ?? new Int32(1), environment)
  const output = compileExpression(operand.get('output') ?? operand.get('input') ?? null, environment)
  const by = operand.get('sortBy')
  const fields = isDoc(by) ? parseSort(by) : []
  return () => {
    const entries: { keys: Value[], value: Value }[] = []
    return {
      add: doc => {
        const value = output(environment.scope(doc)) ?? null
        if (!/^\$(min|max)/.test(name) || !isNullish(value)) entries.push({ keys: sortKeys(doc, fields), value })
      },
      result: () => {
        const n = count(environment.scope(new Map()))
        if (!isNumeric(n) || toNumber(n) < 1) {
          throw new CommandError(
            5787902,
            `Value for 'n' must be of integral type and positive, but found ${typeName(n)}`
          )
        }
        if (fields.length > 0) entries.sort((a, b) => compareKeys(a.keys, b.keys, fields))
        if (/^\$(min|max)/.test(name)) {
          entries.sort((a, b) => compareValues(a.value, b.value) * (name === '$minN' ? 1 : -1))
        }
        const values = entries.map(({ value }) => value)
        const taken = /^\$(last|bottom)/.test(name) ? values.slice(-toNumber(n)) : values.slice(0, toNumber(n))
        return name.endsWith('N') ? taken : taken[0] ?? null
      }
    }
  }
}
