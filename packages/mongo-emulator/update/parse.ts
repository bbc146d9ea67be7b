import { compareStrings } from '../compare.js'
import { describe } from '../describe.js'
import { CommandError, failedToParse } from '../errors.js'
import type { MatchDetails } from '../match.js'
import { isPrefix } from '../paths.js'
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
  changes.sort((a, b) => compareStrings(a.path, b.path)) // new fields appear in the order of their names
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
  const parts = path.split('.')
  if (parts.includes('')) {
    throw new CommandError(56, `The update path '${path}' contains an empty field name, which is not allowed.`)
  }
  if (parts[0]?.startsWith('$') === true) throw dollarPrefixed(parts[0])
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

function applyChange (doc: Doc, { path, parts, modify }: Change, details: MatchDetails, inserting: boolean): void {
  const concrete = concretePath(parts, details)
  if (modify === 'remove') return removeAt(doc, concrete)
  const value = modify({ current: valueAtParts(doc, concrete), name: path, id: doc.get('_id'), inserting })
  if (value !== undefined) setAt(doc, concrete, value)
}
