import { badValue, CommandError, failedToParse } from './errors.js'
import { compileExpression } from './expressions/compile.js'
import { bind, type Environment, type Evaluate, type Scope } from './expressions/types.js'
import { memberTest } from './match-parse.js'
import type { MatchDetails } from './match.js'
import { isDoc, isNumeric, toNumber, type Doc, type Value } from './values.js'

export type Project = (doc: Doc, details: MatchDetails) => Doc

type Leaf =
  | { kind: 'keep' | 'drop' | 'positional' }
  | { kind: 'compute', evaluate: Evaluate }
  | { kind: 'slice', skip: number | undefined, limit: number }
  | { kind: 'elemMatch', test: (member: Value) => boolean }

interface Node { leaf?: Leaf, children: Map<string, Node> }

interface Run { scope: Scope, details: MatchDetails }

/**
 * Compiles a projection (MongoDB manual, "Projection Operators"): with `find` as find and findAndModify take it, else
 * as `$project` does.
 * Throws CommandError 31253 or 31254 when inclusion and exclusion are mixed, 31249 when paths collide.
 */
export function compileProjection (spec: Doc, environment: Environment, find: boolean): Project {
  const root: Node = { children: new Map() }
  let including: boolean | undefined
  for (const [path, leaf] of [...spec].flatMap(([path, value]) => leaves(path, value, environment, find))) {
    const includes = leaf.kind === 'slice' ? undefined : leaf.kind !== 'drop'
    const decides = path !== '_id' || (leaf.kind !== 'keep' && leaf.kind !== 'drop')
    if (decides && includes !== undefined) including = agreed(path, includes, including)
    insert(root, path, leaf)
  }
  const idOnly = including === undefined && root.children.get('_id')?.leaf?.kind === 'keep' && root.children.size === 1
  if (including === true || idOnly) {
    if (!root.children.has('_id')) insert(root, '_id', { kind: 'keep' })
    return (doc, details) => project(doc, root, true, { scope: environment.scope(doc), details })
  }
  return (doc, details) => project(doc, root, false, { scope: environment.scope(doc), details })
}

function agreed (path: string, includes: boolean, including: boolean | undefined): boolean {
  if (including === undefined || including === includes) return includes
  throw including
    ? new CommandError(31254, `Cannot do exclusion on field ${path} in inclusion projection`)
    : new CommandError(31253, `Cannot do inclusion on field ${path} in exclusion projection`)
}

function leaves (path: string, value: Value, environment: Environment, find: boolean): [string, Leaf][] {
  if (path === '') throw new CommandError(40352, 'FieldPath cannot be constructed with empty string')
  if (path.startsWith('$') && !path.startsWith('$id')) {
    throw new CommandError(
      16410,
      'FieldPath field names may not start with \'$\'. Consider using $getField or $setField.'
    )
  }
  if (path.split('.').includes('')) throw new CommandError(15998, 'FieldPath field names may not be empty strings.')
  if (typeof value === 'boolean' || isNumeric(value)) {
    const keep = typeof value === 'boolean' ? value : toNumber(value) !== 0
    if (path.endsWith('.$')) {
      if (!find || !keep) throw new CommandError(31395, 'positional projection cannot be used with exclusion')
      return [[path.slice(0, -2), { kind: 'positional' }]]
    }
    return [[path, { kind: keep ? 'keep' : 'drop' }]]
  }
  if (!isDoc(value)) return [[path, compute(value, environment, find)]]
  const [operator] = value.keys()
  if (operator === undefined) {
    throw new CommandError(51270, 'An empty sub-projection is not a valid value. Found empty object at path')
  }
  if (!operator.startsWith('$')) {
    return [...value].flatMap(([name, inner]) => leaves(`${path}.${name}`, inner, environment, find))
  }
  if (operator === '$meta') throw badValue('$meta projection is not supported by this server')
  if (find && operator === '$elemMatch') return [[path, elemMatch(value.get(operator) ?? null, environment)]]
  if (find && operator === '$slice') {
    return [[path, slice(value.get(operator) ?? null) ?? compute(value, environment, find)]]
  }
  return [[path, compute(value, environment, find)]]
}

function compute (value: Value, environment: Environment, find: boolean): Leaf {
  try {
    return { kind: 'compute', evaluate: compileExpression(value, environment) }
  } catch (error) {
    if (!(error instanceof CommandError) || error.code !== 168) throw error
    throw new CommandError(
      31325,
      `${find ? '' : 'Invalid $project :: caused by :: '}${error.message.replace('Unrecognized expression', 'Unknown expression').replaceAll("'", '')}`
    )
  }
}

function elemMatch (value: Value, environment: Environment): Leaf {
  if (!isDoc(value)) throw new CommandError(31274, 'elemMatch: Invalid argument, object required')
  return { kind: 'elemMatch', test: memberTest(value, environment) }
}

/** `$slice: n` and `$slice: [skip, limit]`; other operands belong to the expression of the same name. */
function slice (value: Value): Leaf | undefined {
  if (isNumeric(value)) return { kind: 'slice', skip: undefined, limit: toNumber(value) }
  if (!Array.isArray(value)) {
    throw new CommandError(28667, 'Invalid $slice syntax. The given syntax did not match the find() syntax')
  }
  const [skip, limit] = value
  if (!isNumeric(skip) || !isNumeric(limit)) return undefined
  if (toNumber(limit) <= 0) {
    throw new CommandError(28724, 'First argument to $slice must be an array, but is of type: int')
  }
  return { kind: 'slice', skip: toNumber(skip), limit: toNumber(limit) }
}

function insert (root: Node, path: string, leaf: Leaf): void {
  let node = root
  const parts = path.split('.')
  for (const [at, part] of parts.entries()) {
    if (node.leaf !== undefined) {
      throw new CommandError(31249, `Path collision at ${path} remaining portion ${parts.slice(at).join('.')}`)
    }
    const next: Node = node.children.get(part) ?? { children: new Map() }
    node.children.set(part, next)
    node = next
  }
  if (node.leaf !== undefined || node.children.size > 0) throw new CommandError(31250, `Path collision at ${path}`)
  node.leaf = leaf
}

function project (doc: Doc, node: Node, including: boolean, run: Run): Doc {
  const result: Doc = new Map()
  for (const [name, value] of doc) {
    const child = node.children.get(name)
    const kept = child === undefined ? (including ? undefined : value) : projectField(value, child, including, run)
    if (kept !== undefined) result.set(name, kept)
  }
  return addComputed(result, node, run.scope)
}

function projectField (value: Value, { leaf, children }: Node, including: boolean, run: Run): Value | undefined {
  switch (leaf?.kind) {
    case 'keep': return value
    case 'drop': case 'compute': return undefined
    case 'slice': return Array.isArray(value) ? sliced(value, leaf.skip, leaf.limit) : value
    case 'elemMatch': {
      const found = Array.isArray(value) ? value.find(leaf.test) : undefined
      return found === undefined ? undefined : [found]
    }
    case 'positional': return positional(value, run.details)
  }
  return below(value, member => project(member, { children }, including, run), including)
}

function below (value: Value, apply: (doc: Doc) => Value, including: boolean): Value | undefined {
  if (isDoc(value)) return apply(value)
  if (!Array.isArray(value)) return including ? undefined : value
  return value.flatMap(member => {
    const kept = below(member, apply, including)
    return kept === undefined ? [] : [kept]
  })
}

function sliced (items: Value[], skip: number | undefined, limit: number): Value[] {
  if (skip === undefined) return limit >= 0 ? items.slice(0, limit) : items.slice(limit)
  const start = skip >= 0 ? skip : Math.max(0, items.length + skip)
  return items.slice(start, start + limit)
}

function positional (value: Value, { arrayIndex }: MatchDetails): Value {
  if (!Array.isArray(value)) return value
  const member = arrayIndex === undefined ? undefined : value[arrayIndex]
  if (member === undefined) {
    throw new CommandError(
      51246,
      "Executor error during find command :: caused by :: positional operator '.$' couldn't find a matching element in the array"
    )
  }
  return [member]
}

const computes = (node: Node): boolean => node.leaf?.kind === 'compute' || [...node.children.values()].some(computes)

/** Sets the computed fields of a tree, in documents and in every document of an array. */
function addComputed (doc: Doc, node: Node, scope: Scope): Doc {
  for (const [name, child] of node.children) {
    if (!computes(child)) continue
    const value = child.leaf?.kind === 'compute' ? child.leaf.evaluate(scope) : addBelow(doc.get(name), child, scope)
    if (value === undefined) doc.delete(name)
    else doc.set(name, value)
  }
  return doc
}

function addBelow (value: Value | undefined, node: Node, scope: Scope): Value {
  if (Array.isArray(value)) return value.map(member => addBelow(member, node, scope))
  return addComputed(new Map(isDoc(value) ? value : []), node, scope)
}

/** Compiles `$addFields`: every leaf is an expression, numbers and booleans too. */
export function compileAddFields (spec: Doc, environment: Environment): (doc: Doc) => Doc {
  const root: Node = { children: new Map() }
  for (const [path, value] of spec) {
    if (path === '' || path.startsWith('$')) {
      throw new CommandError(
        16410,
        'FieldPath field names may not start with \'$\'. Consider using $getField or $setField.'
      )
    }
    for (const [full, expression] of flatten(path, value)) {
      insert(root, full, { kind: 'compute', evaluate: compileExpression(expression, environment) })
    }
  }
  return doc => addComputed(new Map(doc), root, bind(environment.scope(doc), 'ROOT', doc))
}

function flatten (path: string, value: Value): [string, Value][] {
  if (!isDoc(value) || value.size === 0 || [...value.keys()][0]?.startsWith('$') === true) return [[path, value]]
  return [...value].flatMap(([name, inner]) => flatten(`${path}.${name}`, inner))
}

/** Paths to leave out, as `$unset` names them. */
export function compileUnset (operand: Value, environment: Environment): (doc: Doc) => Doc {
  const paths = Array.isArray(operand) ? operand : [operand]
  if (paths.length === 0 || paths.some(path => typeof path !== 'string')) {
    throw new CommandError(31120, '$unset specification must be a string or an array containing only string values')
  }
  if (paths.includes('')) throw failedToParse('FieldPath cannot be constructed with empty string')
  const apply = compileProjection(new Map(paths.map(path => [String(path), false])), environment, false)
  return doc => apply(doc, {})
}
