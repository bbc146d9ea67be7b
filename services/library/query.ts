import type { Filter, ObjectId } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { LibraryQuery } from '../../schemas/library.js'
import { searchedWords } from './title-words.js'

type Condition = Filter<LibraryDocument>

/** Conditions by which a search may read. The longest words are the rarest, as a rule. */
const MAX_LEADS = 4

/** The conditions that every row of a list meets. */
export interface Conditions {
  /** Those of the query. An index serves each in the order of lists, but for a RegExp. */
  all: Condition[]
  /** That of the caller's view. It names neither the fields of the others nor `$and`. */
  view: Condition
  /** Those by which a search with several conditions may read. Empty for any other list. */
  leads: Condition[]
}

/** The conditions on stored fields for a query. A search for a text without any word finds nothing. */
export function conditionsOf (
  { type, category, user_id: userId, mine, q }: LibraryQuery,
  caller: ObjectId,
  view: Condition = {}
): Conditions {
  const owner: Condition[] = mine ? [{ owner: caller }] : []
  const words = q === undefined ? [] : withoutBeginnings(searchedWords(q))
  const others: Condition[] = [
    ...(type !== undefined ? [{ type }] : []),
    ...(category !== undefined ? [{ category }] : []),
    ...(userId !== undefined ? [{ user_id: userId }] : [])
  ]
  const searched: Condition[] = q !== undefined && words.length === 0
    ? [{ words: { $in: [] } }]
    : words.map(word => ({ words: word }))
  const all = [...searched, ...owner, ...others]
  const leads = [...owner, ...searched.filter(({ words }) => typeof words === 'string').sort(byLength)]
  return {
    all,
    view,
    leads: words.length > 0 && all.length > 1 ? leads.slice(0, MAX_LEADS) : []
  }
}

/** A word that begins another one is in every row that has the other. */
const withoutBeginnings = (words: Array<string | RegExp>) => words.filter(word =>
  typeof word !== 'string' ||
  !words.some(other => typeof other === 'string' && other !== word && other.startsWith(word)))

const byLength = (a: Condition, b: Condition) => String(b.words).length - String(a.words).length

/** The filter for conditions. The first is the one that an index should serve. */
export const filterOf = ([first, ...rest]: Condition[], view?: Condition): Filter<LibraryDocument> =>
  ({ ...first, ...view, ...(rest.length > 0 && { $and: rest }) })
