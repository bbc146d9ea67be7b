import { BSON, type Document, type Filter } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import { invalidField, sentences } from '../errors.js'

/**
 * BSON's types in the order of their values (MongoDB manual, "Comparison/Sort Order"), without what no row has, and
 * arrays: an index holds their members.
 */
const TYPES_IN_ORDER = [[10], [1, 16, 18, 19], [2], [3], [5], [7], [8], [9], [17]]
const NULL_RANK = 0
const NUMBER_RANK = 1
const OBJECT_ID = 7

/** Bounds the depth of what a made-up cursor holds. */
const MAX_LENGTH = 1024

/** Types of ids that this service does not make. */
export const FOREIGN_ID_TYPES = TYPES_IN_ORDER.flat().filter(type => type !== OBJECT_ID)

/** The place of a row in the library, newest first, as opaque text. */
export const cursorAfter = ({ created_at: at, _id: id }: Pick<Document, 'created_at' | '_id'>) =>
  Buffer.from(BSON.serialize({ at: at ?? null, id })).toString('base64url')

/**
 * What satisfies the filter and comes after the cursor, newest first: alternatives that are one range of an index each,
 * whatever type of time a row has.
 * The filter must not name `created_at`, `_id` or `$or`. Throws the 400 that names `cursor`.
 */
export function after (cursor: string, filter: Filter<LibraryDocument>): Filter<LibraryDocument> {
  const { at, id } = readCursor(cursor)
  const places = [
    ...below('_id', id).map(place => ({ created_at: { $eq: at }, ...place })),
    ...below('created_at', at),
    ...(at === null ? [] : [{ created_at: null }]) // what is missing counts as null, but has no type
  ]
  return { $or: places.map(place => ({ ...filter, ...place }) as Filter<LibraryDocument>) }
}

function readCursor (cursor: string): { at: unknown, id: unknown } {
  const row = cursor.length > MAX_LENGTH ? undefined : decode(cursor)
  if (!row || rankOf(row.at) < 0 || rankOf(row.id) < 0 || cursorAfter({ created_at: row.at, _id: row.id }) !== cursor) {
    throw invalidField('cursor', sentences.value)
  }
  return { at: row.at, id: row.id }
}

function decode (cursor: string): Document | undefined {
  try {
    return BSON.deserialize(Buffer.from(cursor, 'base64url'))
  } catch {
    return undefined
  }
}

/** Where the type of a value stands in the order; −1 for one that has no place in it. */
function rankOf (value: unknown): number {
  const type = BSON.serialize({ value })[4]
  return TYPES_IN_ORDER.findIndex(types => types.some(own => own === type))
}

/** Everything that stands below a value: MongoDB compares only within a type, and never finds NaN by less. */
function below (path: string, value: unknown): Document[] {
  const rank = rankOf(value)
  if (rank === NULL_RANK) return []
  return [
    { [path]: { $lt: value } },
    ...(rank === NUMBER_RANK && !Number.isNaN(value) ? [{ [path]: NaN }] : []),
    { [path]: { $type: TYPES_IN_ORDER.slice(0, rank).flat() } }
  ]
}
