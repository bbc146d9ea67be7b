import { ObjectId, type Collection, type Db, type Filter, type WithId } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { LibraryItem, LibraryPage, LibraryQuery } from '../../schemas/library.js'
import { withinDeadline } from '../request-deadline.js'
import { NEWEST_FIRST } from '../database.js'
import { invalidField, itemNotFound, sentences } from '../errors.js'
import { firstBatch } from '../first-batch.js'
import type { Log, MediaStore } from '../ports.js'
import { createCoalescer } from './coalesce.js'
import { after, cursorAfter, OTHER_ID_TYPES } from './cursor.js'
import { createToItem, HIDDEN, publicId } from './item.js'
import { libraryFilter } from './query.js'
import { createTotals, MAX_COUNTED, type TotalsOptions } from './totals.js'

const MAX_PER_PAGE = 100
const MAX_OTHER_IDS = 1000

export interface LibraryOptions {
  db: Db
  /** In `db`. */
  library: Collection<LibraryDocument>
  withDedicatedConnection: TotalsOptions['withDedicatedConnection']
  media: Pick<MediaStore, 'url'>
  log: Pick<Log, 'warn'>
  /** The size of the rendition that an item's `url` points to, if the item has it. */
  urlRendition?: string
  /** A monotonic clock in milliseconds, by which totals age. */
  monotonic?: () => number
}

/** The library as clients see it. */
export function createLibrary ({
  db,
  library,
  withDedicatedConnection,
  media,
  log,
  urlRendition,
  monotonic = () => performance.now()
}: LibraryOptions) {
  const toItem = createToItem(media, urlRendition)
  const totals = createTotals({ library, withDedicatedConnection, log, monotonic })
  const shared = createCoalescer<LibraryPage>()
  return { list, get, toItem, changed: totals.changed, start: totals.start, close: totals.close }

  /**
   * One page of the items that the query asks for, newest first, ties broken by id. A page past the end is empty. By
   * cursor a page costs the same at any depth, and a client that reads to the end gets every item once that was there
   * all the while. 400.
   */
  function list (query: LibraryQuery, caller: ObjectId): Promise<LibraryPage> {
    return withinDeadline(() => shared(JSON.stringify([query, query.mine && caller]), () => readPage(query, caller)))
  }

  async function readPage (query: LibraryQuery, caller: ObjectId): Promise<LibraryPage> {
    const { page = 1, per_page: asked = 10, cursor } = query
    if (cursor !== undefined && query.page !== undefined) throw invalidField('page', sentences.value)
    const perPage = Math.min(asked, MAX_PER_PAGE)
    const skip = (page - 1) * perPage
    const filter = libraryFilter(query, caller)
    const rows = await isPast(skip, filter)
      ? []
      : await read(cursor === undefined ? filter : after(cursor, filter), skip, perPage + 1)
    const shown = rows.slice(0, perPage)
    const isAll = cursor === undefined && rows.length <= perPage && (rows.length > 0 || skip === 0)
    const { total, exact } = await totalOf(filter, rows.length === 0 ? 0 : skip + rows.length, isAll)
    return {
      items: shown.map(toItem),
      page,
      per_page: perPage,
      total,
      total_pages: Math.ceil(total / perPage),
      total_exact: exact,
      next_cursor: rows.length > perPage ? cursorAfter(shown.at(-1)!) : null
    }
  }

  /** One item; 404. */
  async function get (id: string): Promise<LibraryItem> {
    const row = await library.findOne({ _id: new ObjectId(id) }, { projection: HIDDEN }) ?? await findByPublicId(id)
    if (!row) throw itemNotFound()
    return toItem(row)
  }

  function read (
    filter: Filter<LibraryDocument>,
    skip: number,
    limit: number
  ): Promise<Array<WithId<LibraryDocument>>> {
    return firstBatch(db, library, filter, { sort: NEWEST_FIRST, skip, limit, projection: HIDDEN })
  }

  /** Such a page is not read. */
  async function isPast (skip: number, filter: Filter<LibraryDocument>): Promise<boolean> {
    if (skip === 0) return false
    const { total, exact } = await totals.of(filter)
    return exact && skip >= total
  }

  /** The last page gives the total without a count. An exact total is never below the rows seen. */
  async function totalOf (filter: Filter<LibraryDocument>, seen: number, isAll: boolean): Promise<{
    total: number
    exact: boolean
  }> {
    if (isAll && seen <= MAX_COUNTED) return { total: seen, exact: true }
    const { total, exact } = await totals.of(filter)
    return { total: exact ? Math.max(total, seen) : total, exact }
  }

  /** Finds a row of the replaced system, whose id is no ObjectId, by its public id. */
  async function findByPublicId (id: string): Promise<WithId<LibraryDocument> | undefined> {
    const rows = await library
      .find({ _id: { $type: OTHER_ID_TYPES } } as object, { limit: MAX_OTHER_IDS, projection: HIDDEN })
      .toArray()
    return rows.find(row => publicId(row._id) === id)
  }
}
