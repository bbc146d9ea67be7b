import { compareStrings } from '../compare.js'
import { describe } from '../describe.js'
import { badValue, CommandError, failedToParse } from '../errors.js'
import type { MatchDetails } from '../match.js'
import { isIndexName, isPrefix } from '../paths.js'
import { compileUpdatePipeline } from '../pipeline/compile.js'
import { cloneDoc, isDoc, typeName, type Doc, type Value } from '../values.js'
import { modifiers, type Modifier } from './operators.js'
import { concretePath, removeAt, setAt, valueAtParts } from './paths.js'

/** A parsed update: turns a document (which it may change in place) into its successor. */
export interface Update {
  kind: 'replacement' | 'modifiers' | 'pipeline'
  apply: (doc: Doc, details: MatchDetails, inserting: boolean) => Doc
}

/**
 * Parses the `u` of an update statement or the `update` of findAndModify (MongoDB manual, "Update Operators").
 * Throws CommandError for unknown modifiers and conflicting paths (40).
 */
export function parseUpdate (update: Value | undefined, now: Date): Update {
  if (Array.isArray(update)) {
    const run = compileUpdatePipeline(update, now)
    return { kind: 'pipeline', apply: doc => withId(run(doc), doc) }
  }
  if (!isDoc(update)) throw failedToParse('Update argument must be either an object or an array')
  const [first] = update.keys()
  if (first === undefined || !first.startsWith('$')) return replacement(update)
  return { kind: 'modifiers', apply: compileModifiers(update) }
}

function replacement (update: Doc): Update {
  for (const name of update.keys()) {
    if (name.startsWith('$')) throw dollarPrefixed(name)
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

interface Change { path: string, parts: string[], modify: Modifier | 'remove' }

function compileModifiers (update: Doc): Update['apply'] {
  const changes = [...update].flatMap(([operator, operand]) => changesOf(operator, operand))
  checkConflicts(changes.map(({ path }) => path))
  changes.sort((a, b) => comparePaths(a.parts, b.parts))
  return (doc, details, inserting) => {
    for (const change of changes) applyChange(doc, change, details, inserting)
    return doc
  }
}

function changesOf (operator: string, operand: Value): Change[] {
  const factory = Object.hasOwn(modifiers, operator) ? modifiers[operator] : undefined
  if (factory === undefined && operator !== '$unset') {
    throw failedToParse(
      `Unknown modifier: ${operator}. Expected a valid update modifier or pipeline-style update specified as an array`
    )
  }
  if (!isDoc(operand)) {
    throw failedToParse(
      `Modifiers operate on fields but we found type ${typeName(operand)} instead. For example: {$mod: {<field>: ...}} not {${operator}: ${describe(operand)}}`
    )
  }
  return [...operand].map(([path, argument]) =>
    ({ path, parts: pathParts(path), modify: factory?.(argument, path) ?? 'remove' }))
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

function applyChange (doc: Doc, { path, parts, modify }: Change, details: MatchDetails, inserting: boolean): void {
  const concrete = concretePath(parts, details)
  if (modify === 'remove') return removeAt(doc, concrete)
  const value = modify({ current: valueAtParts(doc, concrete), name: path, id: doc.get('_id'), inserting })
  if (value !== undefined) setAt(doc, concrete, value)
}
