import type { Filter } from 'mongodb'
import type { LibraryDocument } from '../schemas/documents.js'
import type { LibraryQuery } from '../schemas/library.js'
import { invalidField, sentences } from './errors.js'
import { searchedWords } from './title-words.js'

/** The rows that a query asks for, by what is stored, each filter by an index of its own. Throws the 400 that names `q`. */
export function libraryFilter ({ type, category, user_id: userId, mine, q }: LibraryQuery, caller: string): Filter<LibraryDocument> {
  return {
    ...(type !== undefined && { type }),
    ...(category !== undefined && { category }),
    ...(userId !== undefined && { user_id: userId }),
    ...(mine && { owner: caller }),
    ...(q !== undefined && { words: { $all: requireWords(q) } })
  }
}

function requireWords (q: string): Array<string | RegExp> {
  const words = searchedWords(q)
  if (words.length === 0) throw invalidField('q', sentences.value)
  return words
}
