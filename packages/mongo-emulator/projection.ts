import { CommandError } from './errors.js'
import { isDoc, isNumeric, isTruthy, type Doc, type Value } from './values.js'

/** The paths that a projection names; `true` at their ends. */
type Tree = Map<string, Tree | true>

/**
 * Compiles a projection that includes or excludes fields (MongoDB manual, "Project Fields to Return").
 * Throws CommandError 31254 when inclusion and exclusion are mixed, 31250 when paths collide, 31325 for operators.
 */
export function compileProjection (spec: Doc): (doc: Doc) => Doc {
  const fields = [...spec].map(([path, value]) => ({ path, keep: isKept(path, value) }))
  const including = (fields.find(({ path }) => path !== '_id') ?? fields[0])?.keep === true
  if (fields.some(({ path, keep }) => path !== '_id' && keep !== including)) {
    throw new CommandError(31254, 'Cannot mix inclusion and exclusion in a projection')
  }
  const tree: Tree = new Map()
  for (const { path, keep } of fields) if (keep === including) insert(tree, path)
  if (including && !spec.has('_id')) insert(tree, '_id')
  return doc => project(doc, tree, including)
}

function isKept (path: string, value: Value): boolean {
  if (!path.includes('$') && (typeof value === 'boolean' || isNumeric(value))) return isTruthy(value)
  throw new CommandError(31325, `Unknown expression ${path}: ${isDoc(value) ? [...value.keys()].join() : String(value)}`)
}

function insert (root: Tree, path: string): void {
  const parts = path.split('.')
  const last = parts.pop() ?? ''
  let node = root
  for (const part of parts) {
    const next = node.get(part) ?? new Map<string, Tree | true>()
    if (next === true) throw new CommandError(31250, `Path collision at ${path}`)
    node.set(part, next)
    node = next
  }
  if (node.has(last)) throw new CommandError(31250, `Path collision at ${path}`)
  node.set(last, true)
}

function project (doc: Doc, tree: Tree, including: boolean): Doc {
  const result: Doc = new Map()
  for (const [name, value] of doc) {
    const kept = projectField(value, tree.get(name), including)
    if (kept !== undefined) result.set(name, kept)
  }
  return result
}

function projectField (value: Value, tree: Tree | true | undefined, including: boolean): Value | undefined {
  if (tree === undefined) return including ? undefined : value
  if (tree === true) return including ? value : undefined
  if (isDoc(value)) return project(value, tree, including)
  if (!Array.isArray(value)) return including ? undefined : value
  return value.flatMap(member => projectField(member, tree, including) ?? [])
}
