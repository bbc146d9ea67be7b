import { isDoc, type Value } from './values.js'

export const isIndexName = (name: string): boolean => /^(?:0|[1-9]\d*)$/.test(name)

/** Called for each value a path leads to; `undefined` is a missing field. Returning true ends the walk. */
type Visit = (value: Value | undefined, arrayIndex: number | undefined) => boolean

/**
 * Walks a dotted path as queries do: through array members implicitly, and by index where a part is a number. With
 * `expand`, an array at the end is visited member by member, then as a whole; an array reached by an index only as a
 * whole. `arrayIndex` is the position in the outermost array passed, which the positional operator `$` refers to.
 */
export function visitPath (
  value: Value | undefined,
  parts: string[],
  expand: boolean,
  visit: Visit,
  at = 0,
  index?: number
): boolean {
  const part = parts[at]
  if (part === undefined) return visitEnd(value, expand, visit, index)
  if (isDoc(value)) return visitPath(value.get(part), parts, expand, visit, at + 1, index)
  if (!Array.isArray(value)) return visit(undefined, index)
  if (isIndexName(part) &&
    Number(part) < value.length &&
    visitPath(value[Number(part)], parts, expand && at < parts.length - 1, visit, at + 1, index ?? Number(part))) {
    return true
  }
  return value.some((item, position) =>
    isDoc(item) && visitPath(item.get(part), parts, expand, visit, at + 1, index ?? position))
}

function visitEnd (value: Value | undefined, expand: boolean, visit: Visit, index: number | undefined): boolean {
  if (expand && Array.isArray(value) && value.some((item, position) => visit(item, index ?? position))) return true
  return visit(value, index)
}

export const isPrefix = (prefix: string, path: string): boolean => path === prefix || path.startsWith(`${prefix}.`)
