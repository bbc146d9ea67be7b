import { visitPath } from './paths.js'
import type { Value } from './values.js'

export type LeafOperator =
  '$eq' | '$lt' | '$lte' | '$gt' | '$gte' | '$in' | '$regex' | '$exists' | '$type' | '$elemMatch'

/** A test of the values at one path. */
export interface Leaf {
  kind: 'leaf'
  path: string
  parts: string[]
  operator: LeafOperator
  operand: Value
  /** Arrays at the end of the path are tested member by member, then whole; else only whole. */
  expand: boolean
  test: (value: Value | undefined) => boolean
  /** For `$elemMatch`: which member of an array matches first; −1 for none. */
  position?: (value: Value | undefined) => number
}

/** A parsed query filter: what the matcher runs and the planner reads. */
export type Filter =
  | { kind: 'and' | 'or' | 'nor', children: Filter[] }
  | { kind: 'not', child: Filter }
  | Leaf

/** Where in an array the filter matched, for the positional operator `$`. */
export interface MatchDetails { arrayIndex?: number }

/** Decides whether a document (or the member of an array wrapped as one) satisfies a filter. */
export function matches (filter: Filter, doc: Value, details?: MatchDetails): boolean {
  switch (filter.kind) {
    case 'and': return filter.children.every(child => matches(child, doc, details))
    case 'or': return filter.children.some(child => matches(child, doc, details))
    case 'nor': return !filter.children.some(child => matches(child, doc))
    case 'not': return !matches(filter.child, doc)
    case 'leaf': return matchesLeaf(filter, doc, details)
  }
}

function matchesLeaf (leaf: Leaf, doc: Value, details: MatchDetails | undefined): boolean {
  return visitPath(doc, leaf.parts, leaf.expand, (value, arrayIndex) => {
    if (!leaf.test(value)) return false
    const index = arrayIndex ?? leaf.position?.(value)
    if (details !== undefined && index !== undefined) details.arrayIndex = index
    return true
  })
}
