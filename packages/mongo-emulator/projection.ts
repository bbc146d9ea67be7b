import { CommandError } from './errors.js'
import { isDoc, isNumeric, toNumber, type Doc, type Value } from './values.js'

interface Node { leaf?: 'keep' | 'drop', children: Map<string, Node> }

/**
 * Compiles a projection that includes or excludes fields (MongoDB manual, "Project Fields to Return").
 * Throws CommandError 31253 or 31254 when inclusion and exclusion are mixed, 31249 when paths collide, 31325 for
 * operators.
 */
export function compileProjection (spec: Doc): (doc: Doc) => Doc {
  const root: Node = { children: new Map() }
  let including: boolean | undefined
  for (const [path, value] of spec) {
    const keep = isKept(path, value)
    if (path !== '_id') including = agreed(path, keep, including)
    insert(root, path, keep ? 'keep' : 'drop')
  }
  const id = root.children.get('_id')?.leaf
  if (including === true || (including === undefined && id === 'keep')) {
    if (!root.children.has('_id')) insert(root, '_id', 'keep')
    return doc => project(doc, root, true)
  }
  return doc => project(doc, root, false)
}

function isKept (path: string, value: Value): boolean {
  if (path.split('.').includes('')) throw new CommandError(15998, 'FieldPath field names may not be empty strings.')
  if (path.split('.').some(part => part.startsWith('$'))) {
    throw new CommandError(
      16410,
      'FieldPath field names may not start with \'$\'. Consider using $getField or $setField.'
    )
  }
  if (typeof value === 'boolean') return value
  if (isNumeric(value)) return toNumber(value) !== 0
  throw new CommandError(31325, `Unknown expression ${isDoc(value) ? [...value.keys()].join() : String(value)}`)
}

function agreed (path: string, includes: boolean, including: boolean | undefined): boolean {
  if (including === undefined || including === includes) return includes
  throw including
    ? new CommandError(31254, `Cannot do exclusion on field ${path} in inclusion projection`)
    : new CommandError(31253, `Cannot do inclusion on field ${path} in exclusion projection`)
}

function insert (root: Node, path: string, leaf: 'keep' | 'drop'): void {
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

function project (doc: Doc, node: Node, including: boolean): Doc {
  const result: Doc = new Map()
  for (const [name, value] of doc) {
    const child = node.children.get(name)
    const kept = child === undefined ? (including ? undefined : value) : projectField(value, child, including)
    if (kept !== undefined) result.set(name, kept)
  }
  return result
}

function projectField (value: Value, node: Node, including: boolean): Value | undefined {
  if (node.leaf !== undefined) return node.leaf === 'keep' ? value : undefined
  if (isDoc(value)) return project(value, node, including)
  if (!Array.isArray(value)) return including ? undefined : value
  return value.flatMap(member => {
    const kept = projectField(member, node, including)
    return kept === undefined ? [] : [kept]
  })
}
