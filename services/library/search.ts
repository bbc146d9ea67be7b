import { ObjectId, type Filter, type WithId } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { FirstBatchOptions } from '../first-batch.js'
import { NEWEST_FIRST } from '../database.js'
import type { CursorPosition } from './cursor.js'
import { filterOf, type Conditions } from './query.js'

/** Rows that one page of a search examines. */
const MAX_EXAMINED = 1000

/** Restricts a range to rows whose times are dates. Others, of the replaced system, have no words. */
const EARLIEST = new Date(0)

/** A place in the list. Rows with words are this service's own: their times are dates, and their ids are ObjectIds. */
export type Place = Pick<WithId<LibraryDocument>, 'created_at' | '_id'>

/** The rows among which a page of a search looks, newest first. */
export interface SearchWindow {
  /** Finds the rows of the window that meet all conditions, and a few of the same moment as its last row. */
  filter: Filter<LibraryDocument>
  /** The last row of the window. Undefined if the window ends with the library. */
  end?: Place
}

type Find = (filter: Filter<LibraryDocument>, options: FirstBatchOptions) => Promise<Array<WithId<LibraryDocument>>>

/**
 * Bounds what a search for several conditions reads. No index holds two words, so a search reads by one condition and
 * checks the others in its rows: at most 1,000 for a page. It reads by the rarest of its leads: one with fewer rows
 * than that, else the one whose 1,000 newest rows reach furthest back.
 */
export function createSearch (find: Find, maxExamined = MAX_EXAMINED) {
  /** The window that begins after a place, or with the newest row. */
  return async function windowFrom ({ all, view, leads }: Conditions, start?: Place): Promise<SearchWindow> {
    const ends = await Promise.all(leads.map(lead => lastExamined(lead, start)))
    const rarest = ends.reduce((best, end, i) => reachesFurther(end, ends[best]) ? i : best, 0)
    const [lead, end] = [leads[rarest]!, ends[rarest]]
    const conditions = [lead, ...all.filter(condition => condition !== lead)]
    return { filter: between(filterOf(conditions, view), start, end), end }
  }

  async function lastExamined (lead: Filter<LibraryDocument>, start?: Place): Promise<Place | undefined> {
    const [row] = await find(between(lead, start), {
      sort: NEWEST_FIRST,
      skip: maxExamined - 1,
      limit: 1,
      projection: { created_at: 1 }
    })
    return row && isPlace(row) ? row : undefined
  }
}

/** Whether a row of this time and id may have words. */
export const isPlace = (position: CursorPosition): position is Place =>
  position.created_at instanceof Date && position._id instanceof ObjectId

/** Whether a row is beyond the end of a window. */
export const isBeyond = (row: Place, end: Place) =>
  row.created_at < end.created_at ||
  (row.created_at.getTime() === end.created_at.getTime() && row._id.toHexString() < end._id.toHexString())

function reachesFurther (end: Place | undefined, other: Place | undefined): boolean {
  if (!other) return false
  return !end || end.created_at < other.created_at
}

/** Each alternative is one range of the index that begins with the filter's first condition. */
function between (filter: Filter<LibraryDocument>, start?: Place, end?: Place): Filter<LibraryDocument> {
  const least = { $gte: end?.created_at ?? EARLIEST }
  if (!start) return { ...filter, created_at: least }
  return {
    $or: [
      { ...filter, created_at: start.created_at, _id: { $lt: start._id } },
      { ...filter, created_at: { $lt: start.created_at, ...least } }
    ]
  }
}
