import { BSON, type Document, type Filter } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import { invalidField, sentences } from '../errors.js'

/**
 * BSON types in the order of their values (MongoDB manual, "Comparison/Sort Order"). Types that no row has are left
 * out, and so are arrays, because an index holds their members.
 */
const TYPES_IN_ORDER = [[10], [1, 16, 18, 19], [2], [3], [5], [7], [8], [9], [17]]
const NULL_RANK = 0
const NUMBER_RANK = 1
const OBJECT_ID = 7

/** Characters. Bounds the nesting depth of a forged cursor. */
const MAX_LENGTH = 1024

/** Types of ids that this service does not make. */
export const OTHER_ID_TYPES = TYPES_IN_ORDER.flat().filter(type => type !== OBJECT_ID)

/** The position of a row in the library, newest first, as opaque text. */
export const cursorAfter = ({ created_at: at, _id: id }: Pick<Document, 'created_at' | '_id'>) =>
  Buffer.from(BSON.serialize({ at: at ?? null, id })).toString('base64url')

/** The time and the id in a cursor, of any type. */
export interface CursorPosition { created_at: unknown, _id: unknown }

/**
 * Matches rows that satisfy the filter and come after the position, newest first. Each alternative is one range of an
 * index, whatever type of time a row has. The filter must not name `created_at`, `_id` or `$or`.
 */
export function after (
  { created_at: at, _id: id }: CursorPosition,
  filter: Filter<LibraryDocument>
): Filter<LibraryDocument> {
  const places = [
    ...below('_id', id).map(place => ({ created_at: { $eq: at }, ...place })),
    ...below('created_at', at),
    ...(at === null ? [] : [{ created_at: null }]) // a missing field counts as null, but has no type
  ]
  return { $or: places.map(place => ({ ...filter, ...place }) as Filter<LibraryDocument>) }
}

/** The position that a cursor names. Throws the 400 that names `cursor`. */
export function readCursor (cursor: string): CursorPosition {
  const row = cursor.length > MAX_LENGTH ? undefined : decode(cursor)
  if (!row || rankOf(row.at) < 0 || rankOf(row.id) < 0 || cursorAfter({ created_at: row.at, _id: row.id }) !== cursor) {
    throw invalidField('cursor', sentences.value)
  }
  return { created_at: row.at, _id: row.id }
}

function decode (cursor: string): Document | undefined {
  try {
    return BSON.deserialize(Buffer.from(cursor, 'base64url'))
  } catch {
    return undefined
  }
}

/** The position of a value's type in that order, or −1. */
function rankOf (value: unknown): number {
  const type = BSON.serialize({ value })[4]
  return TYPES_IN_ORDER.findIndex(types => types.some(own => own === type))
}

/** Matches everything below a value. MongoDB compares only within a type, and `$lt` never finds NaN. */
function below (path: string, value: unknown): Document[] {
  const rank = rankOf(value)
  if (rank === NULL_RANK) return []
  return [
    { [path]: { $lt: value } },
    ...(rank === NUMBER_RANK && !Number.isNaN(value) ? [{ [path]: NaN }] : []),
    { [path]: { $type: TYPES_IN_ORDER.slice(0, rank).flat() } }
  ]
}
