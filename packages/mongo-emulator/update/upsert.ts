import { BSONRegExp, ObjectId } from 'bson'
import { equalValues } from '../compare.js'
import { describe } from '../describe.js'
import { CommandError } from '../errors.js'
import type { Filter } from '../match.js'
import type { Doc, Value } from '../values.js'
import type { Update } from './parse.js'
import { setAt } from './paths.js'

/**
 * The document an upsert inserts: the filter's equality conditions (a replacement takes only `_id`), then the update.
 */
export function upsertDocument (filter: Filter, update: Update): Doc {
  const seed: Doc = new Map()
  for (const [path, value] of equalities(filter)) {
    if (update.kind === 'replacement' && path !== '_id') continue
    setAt(seed, path.split('.'), value)
  }
  const id = seed.get('_id')
  const doc = idFirst(update.apply(seed, {}, true))
  if (id !== undefined && !equalValues(id, doc.get('_id') ?? null)) {
    throw new CommandError(
      66,
      `After applying the update, the (immutable) field '_id' was found to have been altered to _id: ${describe(doc.get('_id'))}`
    )
  }
  return doc
}

function equalities (filter: Filter): [string, Value][] {
  if (filter.kind === 'and' || (filter.kind === 'or' && filter.children.length === 1)) {
    return filter.children.flatMap(equalities)
  }
  if (filter.kind !== 'leaf') return []
  if (filter.operator === '$eq') return [[filter.path, filter.operand]]
  if (filter.operator !== '$in' || !Array.isArray(filter.operand) || filter.operand.length !== 1) return []
  const [only = null] = filter.operand
  return only instanceof BSONRegExp ? [] : [[filter.path, only]]
}

/** Puts `_id` first, making one when it is missing. */
export function idFirst (doc: Doc): Doc {
  const [first] = doc.keys()
  if (first === '_id') return doc
  const id = doc.get('_id') ?? new ObjectId()
  const rest = new Map(doc)
  rest.delete('_id')
  return new Map([['_id', id], ...rest])
}
