import { badValue, CommandError } from '../errors.js'
import { compileExpression } from '../expressions/compile.js'
import { drop, lengthOf, take } from '../iterate.js'
import { parseFilter } from '../match-parse.js'
import { matches } from '../match.js'
import { toSafeInteger } from '../numbers.js'
import { compileAddFields, compileProjection, compileUnset } from '../projection.js'
import { parseSort, sortDocs } from '../sort.js'
import { fromInteger, isDoc, isNumeric, typeName, type Doc, type Value } from '../values.js'
import { group } from './group.js'
import { lookupStage } from './lookup.js'
import type { Stage, StageContext } from './types.js'
import { unwind } from './unwind.js'

type Factory = (operand: Value, context: StageContext) => Stage

function docOf (operand: Value, stage: string, code: number): Doc {
  if (isDoc(operand)) return operand
  throw new CommandError(code, `the ${stage} stage specification must be an object, but found ${typeName(operand)}`)
}

function whole (operand: Value, stage: string, code: number, least: number): number {
  const number = isNumeric(operand) ? toSafeInteger(operand) : undefined
  if (number === undefined || number < least) {
    throw new CommandError(
      code,
      `invalid argument to ${stage} stage: Expected ${least === 0 ? 'a non-negative' : 'a positive'} number in: ${stage}: ${String(operand)}`
    )
  }
  return number
}

function * map (items: Iterable<Doc>, apply: (doc: Doc) => Doc): Iterable<Doc> {
  for (const item of items) yield apply(item)
}

const mapping = (apply: (doc: Doc) => Doc): Stage => input => map(input, apply)

const match: Factory = (operand, { environment }) => {
  const filter = parseFilter(docOf(operand, '$match', 15959), environment)
  return function * (input) {
    for (const doc of input) if (matches(filter, doc)) yield doc
  }
}

const addFields: Factory = (operand, { environment }) => mapping(compileAddFields(
  docOf(operand, '$addFields', 40272),
  environment
))

const replace = (expression: Value, { environment }: StageContext): Stage => {
  const evaluate = compileExpression(expression, environment)
  return mapping(doc => {
    const result = evaluate(environment.scope(doc))
    if (isDoc(result)) return result
    throw new CommandError(
      40228,
      `'newRoot' expression must evaluate to an object, but resulting value was: ${typeName(result)}`
    )
  })
}

const sample: Factory = operand => {
  const size = whole(docOf(operand, '$sample', 28745).get('size') ?? null, '$sample', 28747, 0)
  return input => {
    const docs = [...input]
    for (let at = docs.length - 1; at > 0; at--) {
      const other = Math.floor(Math.random() * (at + 1))
      const [a, b] = [docs[at], docs[other]]
      if (a !== undefined && b !== undefined) [docs[at], docs[other]] = [b, a]
    }
    return docs.slice(0, size)
  }
}

const facet: Factory = (operand, context) => {
  const pipelines = [...docOf(operand, '$facet', 40169)].map(([name, pipeline]) => {
    if (!Array.isArray(pipeline)) {
      throw new CommandError(40170, `arguments to $facet must be arrays, ${name} is type ${typeName(pipeline)}`)
    }
    return [name, context.compile(pipeline, context)] as const
  })
  return input => {
    const docs = [...input]
    return [new Map(pipelines.map(([name, run]) => [name, [...run(docs)]]))]
  }
}

const count: Factory = operand => {
  if (typeof operand !== 'string' || operand === '' || operand.startsWith('$') || operand.includes('.')) {
    throw new CommandError(40156, 'the count field must be a non-empty string')
  }
  return function * (input) {
    const total = lengthOf(input)
    if (total > 0) yield new Map([[operand, fromInteger(total)]])
  }
}

const sort: Factory = operand => {
  const fields = parseSort(docOf(operand, '$sort', 15973))
  if (fields.length === 0) throw new CommandError(15976, '$sort stage must have at least one sort key')
  return input => sortDocs(input, doc => doc, fields)
}

const unionWith: Factory = (operand, context) => {
  const collection = isDoc(operand) ? operand.get('coll') : operand
  const pipeline = isDoc(operand) ? operand.get('pipeline') ?? [] : []
  if (typeof collection !== 'string' || !Array.isArray(pipeline)) {
    throw badValue('$unionWith needs a collection and a pipeline')
  }
  const run = context.compile(pipeline, context)
  return function * (input) {
    yield * input
    yield * run(context.query(collection, new Map(), context.environment))
  }
}

/** The stages this server knows, by name. Others are refused with MongoDB's code for an unknown stage. */
export const stages: Record<string, Factory> = {
  $match: match,
  $sort: sort,
  $skip: operand => { const n = whole(operand, '$skip', 5107200, 0); return input => drop(input, n) },
  $limit: operand => { const n = whole(operand, '$limit', 15958, 1); return input => take(input, n) },
  $project: (operand, { environment }) => {
    const spec = docOf(operand, '$project', 15969)
    if (spec.size === 0) throw new CommandError(51272, 'projection specification must have at least one field')
    const apply = compileProjection(spec, environment, false)
    return mapping(doc => apply(doc, {}))
  },
  $addFields: addFields,
  $set: addFields,
  $unset: (operand, { environment }) => mapping(compileUnset(operand, environment)),
  $group: (operand, { environment }) => group(operand, environment),
  $count: count,
  $sortByCount: (operand, context) => {
    const counted = group(
      new Map<string, Value>([['_id', operand], ['count', new Map([['$sum', fromInteger(1)]])]]),
      context.environment
    )
    const ordered = sort(new Map([['count', fromInteger(-1)]]), context)
    return input => ordered(counted(input))
  },
  $replaceRoot: (operand, context) => replace(docOf(operand, '$replaceRoot', 40229).get('newRoot') ?? null, context),
  $replaceWith: replace,
  $unwind: unwind,
  $lookup: lookupStage,
  $unionWith: unionWith,
  $facet: facet,
  $sample: sample
}
