import { compareStrings } from '../compare.js'
import { describe } from '../describe.js'
import { badValue, CommandError, failedToParse, typeMismatch } from '../errors.js'
import type { Environment } from '../expressions/types.js'
import { parseFilter } from '../match-parse.js'
import type { Filter, MatchDetails } from '../match.js'
import { isIndexName, isPrefix } from '../paths.js'
import { compileUpdatePipeline } from '../pipeline/update.js'
import { cloneDoc, isDoc, typeName, type Doc, type Value } from '../values.js'
import { modifiers, type Modifier } from './operators.js'
import { concretePaths, removeAt, setAt, valueAtParts } from './paths.js'

/** A parsed update: turns a document (which it may change in place) into its successor. */
export interface Update {
  kind: 'replacement' | 'modifiers' | 'pipeline'
  apply: (doc: Doc, details: MatchDetails, inserting: boolean) => Doc
}

/**
 * Parses the `u` of an update statement or the `update` of findAndModify (MongoDB manual, "Update Operators").
 * Throws CommandError for unknown modifiers, conflicting paths (40), and array filters that are missing or unused.
 */
export function parseUpdate (
  update: Value | undefined,
  arrayFilters: Value | undefined,
  environment: Environment
): Update {
  if (Array.isArray(update)) {
    const run = compileUpdatePipeline(update, environment)
    return { kind: 'pipeline', apply: doc => withId(run(doc), doc) }
  }
  if (!isDoc(update)) throw failedToParse('Update argument must be either an object or an array')
  const [first] = update.keys()
  if (first === undefined || !first.startsWith('$')) return replacement(update, arrayFilters)
  return {
    kind: 'modifiers',
    apply: compileModifiers(update, parseArrayFilters(arrayFilters, environment), environment)
  }
}

function replacement (update: Doc, arrayFilters: Value | undefined): Update {
  for (const name of update.keys()) {
    if (name.startsWith('$')) {
      throw dollarPrefixed(name)
    }
  }
  if (Array.isArray(arrayFilters) && arrayFilters.length > 0) {
    throw failedToParse('Cannot specify arrayFilters with a replacement-style update')
  }
  return { kind: 'replacement', apply: doc => withId(cloneDoc(update), doc) }
}

const dollarPrefixed = (name: string): CommandError =>
  new CommandError(
    52,
    `The dollar ($) prefixed field '${name}' in '${name}' is not allowed in the context of an update's replacement document. Consider using an aggregation pipeline with $replaceWith.`
  )

/** A successor has its `_id` first, and keeps that of its document unless it brings its own. */
function withId (successor: Doc, doc: Doc): Doc {
  const id = successor.get('_id') ?? doc.get('_id')
  if (id === undefined) return successor
  successor.delete('_id')
  return new Map([['_id', id], ...successor])
}

function parseArrayFilters (arrayFilters: Value | undefined, environment: Environment): Map<string, Filter> {
  const parsed = new Map<string, Filter>()
  if (arrayFilters === undefined) return parsed
  if (!Array.isArray(arrayFilters)) {
    throw typeMismatch(
      `BSON field 'update.updates.arrayFilters' is the wrong type '${typeName(arrayFilters)}', expected type 'array'`
    )
  }
  for (const filter of arrayFilters) {
    if (!isDoc(filter)) {
      throw typeMismatch("BSON field 'update.updates.arrayFilters.0' is the wrong type, expected type 'object'")
    }
    const identifier = identifierOf(filter)
    if (!/^[a-z][a-zA-Z0-9]*$/.test(identifier)) {
      throw badValue(
        `Error parsing array filter :: caused by :: The top-level field name must be an alphanumeric string beginning with a lowercase letter, found '${identifier}'`
      )
    }
    if (parsed.has(identifier)) {
      throw failedToParse(`Found multiple array filters with the same top-level field name ${identifier}`)
    }
    parsed.set(identifier, parseFilter(filter, environment))
  }
  return parsed
}

function identifierOf (filter: Doc): string {
  const names = new Set<string>()
  const collect = (doc: Doc) => doc.forEach((value, name) => {
    if (!name.startsWith('$')) names.add(name.split('.')[0] ?? '')
    else if (Array.isArray(value)) value.filter(isDoc).forEach(collect)
  })
  collect(filter)
  const [identifier, other] = names
  if (identifier === undefined) {
    throw failedToParse('Cannot use an expression without a top-level field name in arrayFilters')
  }
  if (other !== undefined) {
    throw failedToParse(
      `Error parsing array filter :: caused by :: Expected a single top-level field name, found '${identifier}' and '${other}'`
    )
  }
  return identifier
}

interface Change { path: string, parts: string[], modify: Modifier | 'remove' | { renameTo: string[] } }

function compileModifiers (update: Doc, arrayFilters: Map<string, Filter>, environment: Environment): Update['apply'] {
  const changes = [...update].flatMap(([operator, operand]) => changesOf(operator, operand, environment))
  checkConflicts(changes.flatMap(({ path, modify }) =>
    typeof modify === 'object' ? [path, modify.renameTo.join('.')] : [path]))
  for (const identifier of arrayFilters.keys()) {
    if (!changes.some(({ parts }) => parts.includes(`$[${identifier}]`))) {
      throw failedToParse(
        `The array filter for identifier '${identifier}' was not used in the update ${describe(update)}`
      )
    }
  }
  changes.sort((a, b) => comparePaths(a.parts, b.parts))
  return (doc, details, inserting) => {
    for (const change of changes) applyChange(doc, change, details, inserting, arrayFilters, environment)
    return doc
  }
}

function changesOf (operator: string, operand: Value, environment: Environment): Change[] {
  if (!Object.hasOwn(modifiers, operator) && operator !== '$unset' && operator !== '$rename') {
    throw failedToParse(
      `Unknown modifier: ${operator}. Expected a valid update modifier or pipeline-style update specified as an array`
    )
  }
  if (!isDoc(operand)) {
    throw failedToParse(
      `Modifiers operate on fields but we found type ${typeName(operand)} instead. For example: {$mod: {<field>: ...}} not {${operator}: ${describe(operand)}}`
    )
  }
  return [...operand].map(([path, argument]) => {
    const parts = pathParts(path)
    if (operator === '$unset') return { path, parts, modify: 'remove' }
    if (operator === '$rename') return { path, parts, modify: { renameTo: renameTarget(path, argument) } }
    return { path, parts, modify: modifiers[operator]?.(argument, path, environment) ?? 'remove' }
  })
}

function pathParts (path: string): string[] {
  if (path === '') throw new CommandError(56, 'An empty update path is not valid.')
  const parts = path.split('.')
  if (parts.includes('')) {
    throw new CommandError(56, `The update path '${path}' contains an empty field name, which is not allowed.`)
  }
  if (parts[0] === '$') {
    throw badValue(`Cannot have positional (i.e. '$') element in the first position in path '${path}'`)
  }
  if (parts[0]?.startsWith('$') === true) throw dollarPrefixed(parts[0])
  if (parts.filter(part => part === '$').length > 1) {
    throw badValue(`Too many positional (i.e. '$') elements found in path '${path}'`)
  }
  return parts
}

function renameTarget (path: string, target: Value): string[] {
  if (typeof target !== 'string') {
    throw badValue(`The 'to' field for $rename must be a string: ${path}: ${describe(target)}`)
  }
  if (target === path) throw badValue(`The source and target field for $rename must differ: ${path}: "${target}"`)
  if ([path, target].some(name => name.split('.').some(part => part.startsWith('$')))) {
    throw badValue(`The source and target field for $rename may not be dynamic: ${path}`)
  }
  return pathParts(target)
}

function checkConflicts (paths: string[]): void {
  const sorted = [...paths].sort(compareStrings)
  for (const [at, path] of sorted.entries()) {
    const other = sorted.slice(0, at).find(earlier => isPrefix(earlier, path))
    if (other !== undefined) {
      throw new CommandError(40, `Updating the path '${path}' would create a conflict at '${other}'`)
    }
  }
}

/**
 * New fields appear in the order of their names, numbers by their value (MongoDB manual, "Update Operators: Behavior").
 */
function comparePaths (a: string[], b: string[]): number {
  for (const [at, part] of a.entries()) {
    const other = b[at]
    if (other === undefined) return 1
    if (part !== other) {
      return isIndexName(part) && isIndexName(other) ? Number(part) - Number(other) : compareStrings(part, other)
    }
  }
  return a.length - b.length
}

function applyChange (
  doc: Doc,
  { path, parts, modify }: Change,
  details: MatchDetails,
  inserting: boolean,
  arrayFilters: Map<string, Filter>,
  environment: Environment
): void {
  if (typeof modify === 'object') return rename(doc, parts, modify.renameTo)
  for (const concrete of concretePaths(doc, parts, { details, arrayFilters })) {
    if (modify === 'remove') removeAt(doc, concrete)
    else {
      const value = modify({
        current: valueAtParts(doc, concrete),
        name: path,
        id: doc.get('_id'),
        inserting,
        environment
      })
      if (value !== undefined) setAt(doc, concrete, value)
    }
  }
}

function rename (doc: Doc, from: string[], to: string[]): void {
  for (const parts of [from, to]) {
    const array = parts.slice(0, -1).some((_part, at) => Array.isArray(valueAtParts(doc, parts.slice(0, at + 1))))
    if (array) {
      throw badValue(
        `The ${parts === from ? 'source' : 'destination'} field cannot be an array element, '${parts.join('.')}' in doc with _id: ${describe(doc.get('_id'))} has an array field`
      )
    }
  }
  const value = valueAtParts(doc, from)
  if (value === undefined) return
  removeAt(doc, from)
  setAt(doc, to, value)
}
