import type { Filter, ObjectId } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { LibraryQuery } from '../../schemas/library.js'
import { searchedWords } from './title-words.js'

/** The filter on stored fields for a query. Each condition has its own index. */
export function libraryFilter (
  { type, category, user_id: userId, mine, q }: LibraryQuery,
  caller: ObjectId
): Filter<LibraryDocument> {
  return {
    ...(type !== undefined && { type }),
    ...(category !== undefined && { category }),
    ...(userId !== undefined && { user_id: userId }),
    ...(mine && { owner: caller }),
    ...(q !== undefined && { words: wordsFilter(q) })
  }
}

/** A text without any word finds nothing. */
function wordsFilter (q: string) {
  const words = searchedWords(q)
  return words.length > 0 ? { $all: words } : { $in: [] }
}
