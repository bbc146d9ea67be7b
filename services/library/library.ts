import { ObjectId, type Collection, type Db, type Filter, type WithId } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { LibraryItem, LibraryPage, LibraryQuery } from '../../schemas/library.js'
import { withinDeadline, withOwnDeadline } from '../request-deadline.js'
import { NEWEST_FIRST } from '../database.js'
import { invalidField, itemNotFound, sentences } from '../errors.js'
import { firstBatch } from '../first-batch.js'
import type { Caller, MediaStore } from '../ports.js'
import { createCounts, MAX_COUNTED, type Count } from './counts.js'
import { after, cursorAfter, OTHER_ID_TYPES, readCursor } from './cursor.js'
import { weakTag } from './entity-tag.js'
import { createToItem, PRIVATE_FIELDS, publicId } from './item.js'
import { createKeptPages, type KeptPage } from './kept-pages.js'
import { conditionsOf, filterOf, type Conditions } from './query.js'
import { createSearch, isBeyond, isPlace, type SearchWindow } from './search.js'
import { isOwner } from './permission.js'
import type { LibraryState, LibraryStates } from './state.js'
import { viewOf, type View } from './view.js'

const MAX_PER_PAGE = 100
const MAX_OTHER_IDS = 1000
/** Items by which the total may be too low. */
const MAX_MISSED = 100

export interface LibraryOptions {
  db: Pick<Db, 'command'>
  /** In `db`. */
  library: Collection<LibraryDocument>
  states: Pick<LibraryStates, 'read'>
  media: Pick<MediaStore, 'url'>
  isAdmin: (caller: Caller) => boolean
  /** The version of the package. Another one may make another page of the same rows. */
  release?: string
  /** The size of the rendition that an item's `url` points to, if the item has it. */
  urlRendition?: string
}

/** How a page becomes text, and which answers the client accepts or has. */
export interface ListOptions {
  serialize: (page: LibraryPage) => string
  takesGzip?: boolean
  /** Whether the client has the answer with this entity tag. */
  isKnown?: (tag: string) => boolean
}

/** `page` is absent if the client has it. `tag` is absent for a list of the caller's own: its bytes make its ETag. */
export interface ListAnswer { page?: KeptPage, tag?: string }

/** A query that is checked and complete. */
interface Plan {
  page: number
  perPage: number
  skip: number
  cursor?: string
  conditions: Conditions
  /** Names the conditions. */
  name: string
  /** The list is for this caller alone, and not kept. */
  isOwn: boolean
  /** By which items an unfiltered list of the caller's own differs from the shared one. */
  difference?: Filter<LibraryDocument>
}

/** The library as clients see it. */
export function createLibrary ({
  db,
  library,
  states,
  media,
  isAdmin,
  release = '',
  urlRendition
}: LibraryOptions) {
  const toItem = createToItem(media, urlRendition)
  const counts = createCounts(library)
  const windowFrom = createSearch((filter, options) => firstBatch(db, library, filter, options))
  const keptPage = createKeptPages()
  /** Everything beside the rows that a page is made of. */
  const settings = [release, media.url('key'), urlRendition]
  return { list, get, toItem }

  /**
   * One page of the items that the query asks for, newest first, ties broken by id. A page past the end is empty. By
   * cursor a page costs the same at any depth, and a client that reads to the end gets every item once that was there
   * all the while. A page shows every write that was acknowledged before the request, by any instance. 400.
   */
  function list (query: LibraryQuery, caller: Caller, options: ListOptions): Promise<ListAnswer> {
    return withinDeadline(async () => {
      const plan = planOf(query, caller, isAdmin(caller))
      const state = await states.read()
      const read = async () => options.serialize(await readPage(plan, state))
      if (plan.isOwn) return { page: { text: await read() } }
      const key = JSON.stringify([state.version, plan.page, plan.perPage, plan.cursor, plan.name, ...settings])
      const tag = weakTag(key)
      if (options.isKnown?.(tag)) return { tag }
      return { tag, page: await keptPage(key, () => withOwnDeadline(read), options.takesGzip ?? false) }
    })
  }

  async function readPage (plan: Plan, state: LibraryState): Promise<LibraryPage> {
    const { page, perPage, skip, cursor } = plan
    const known = skip === 0 ? undefined : await totalOf(plan, state)
    const { rows, end, filter } = isPast(plan, known) ? { rows: [] } : await readRows(plan)
    const shown = rows.slice(0, perPage)
    const last = rows.length > perPage ? shown.at(-1)! : end
    const seen = rows.length === 0 ? 0 : skip + rows.length
    const isLastPage = cursor === undefined && rows.length <= perPage && (rows.length > 0 || skip === 0)
    const { total: counted, exact } = isLastPage && seen <= MAX_COUNTED
      ? { total: seen, exact: !end }
      : known ?? await totalOf(plan, state, cursor === undefined && filter ? { filter, end } : undefined)
    const total = exact ? Math.max(counted, seen) : counted
    return {
      items: shown.map(toItem),
      page,
      per_page: perPage,
      total,
      total_pages: Math.ceil(total / perPage),
      total_exact: exact,
      next_cursor: last ? cursorAfter(last) : null
    }
  }

  /** The rows of a page and one more, if there is one. `end`: the search goes on from there. */
  async function readRows ({ skip, perPage, cursor, conditions }: Plan): Promise<{
    rows: Array<WithId<LibraryDocument>>
  } & SearchWindow> {
    const { filter, end } = await rangeOf(conditions, cursor)
    const options = { sort: NEWEST_FIRST, skip, limit: perPage + 1, projection: PRIVATE_FIELDS }
    const rows = await firstBatch(db, library, filter, options)
    return { rows: end ? rows.filter(row => !isBeyond(row, end)) : rows, end, filter }
  }

  async function rangeOf (conditions: Conditions, cursor?: string): Promise<SearchWindow> {
    const start = cursor === undefined ? undefined : readCursor(cursor)
    const filter = filterOf(conditions.all, conditions.view)
    if (conditions.leads.length === 0) return { filter: start ? after(start, filter) : filter }
    if (start && !isPlace(start)) throw invalidField('cursor', sentences.value) // no search gives such a cursor
    return windowFrom(conditions, start)
  }

  /** The total. A search with more rows than one window counts that window (`range`), and is not exact. */
  async function totalOf (plan: Plan, state: LibraryState, range?: SearchWindow): Promise<Count> {
    const { conditions, name, isOwn, difference } = plan
    if (conditions.all.length === 0 && state.counted) {
      if (!difference) return { total: Math.max(0, state.total), exact: true }
      const { total, exact } = await counts.of(state, name, () => counts.difference(difference))
      return { total: Math.max(0, state.total + total), exact }
    }
    return counts.of(state, name, async () => {
      if (!isOwn && conditions.leads.length === 0) return counts.shown(filterOf(conditions.all), state)
      const { filter, end } = range ?? await rangeOf(conditions)
      const { total, exact } = await counts.upToBound(filter)
      return { total, exact: exact && !end }
    })
  }

  /** One item; 404. A hidden one is there for its owner and for admins alone. */
  async function get (id: string, caller: Caller): Promise<LibraryItem> {
    const own = await library.findOne({ _id: new ObjectId(id) }, { projection: PRIVATE_FIELDS })
    const row = own ?? await findByPublicId(id)
    if (!row || (row.hidden && !isOwner(row, caller) && !isAdmin(caller))) throw itemNotFound()
    return toItem(row)
  }

  /** Finds a row of the replaced system, whose id is no ObjectId, by its public id. */
  async function findByPublicId (id: string): Promise<WithId<LibraryDocument> | undefined> {
    const rows = await library
      .find({ _id: { $type: OTHER_ID_TYPES } } as object, { limit: MAX_OTHER_IDS, projection: PRIVATE_FIELDS })
      .toArray()
    return rows.find(row => publicId(row._id) === id)
  }
}

/** Whether the page is surely past the end, so that it is not read. The total may be too low for some minutes. */
const isPast = ({ skip }: Plan, known: Count | undefined) => known?.exact === true && skip >= known.total + MAX_MISSED

/** 400. */
function planOf (query: LibraryQuery, caller: Caller, isAdmin: boolean): Plan {
  const { page = 1, per_page: asked = 10, cursor } = query
  if (cursor !== undefined && query.page !== undefined) throw invalidField('page', sentences.value)
  if (cursor !== undefined) readCursor(cursor)
  const perPage = Math.min(asked, MAX_PER_PAGE)
  // an owner's own list has everything
  const { condition, difference }: View = query.mine ? {} : viewOf(caller, isAdmin)
  const conditions = conditionsOf(query, caller.account._id, condition)
  const { all } = conditions
  const text = JSON.stringify([all, condition], (_name, value) => value instanceof RegExp ? value.source : value)
  const name = difference ? weakTag(text) : text // the conditions of a view of its own may be long
  const isOwn = query.mine === true || difference !== undefined
  return { page, perPage, skip: (page - 1) * perPage, cursor, conditions, name, isOwn, difference }
}
