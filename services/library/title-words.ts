import { foldCase } from '../fold-case.js'

const MAX_BEGINNING = 32
const MAX_ENTRIES = 512
/** A run of letters, marks and digits, or one emoji. */
const WORD = /[\p{L}\p{M}\p{N}]+|\p{Extended_Pictographic}/gu

/**
 * The entries of `words` for a title: every beginning of each of its words, because an index keeps its order only if it
 * compares whole values. A word of more than 32 letters gives its first 32 beginnings and itself. At most 512 entries.
 */
export function titleWords (title: string): string[] {
  const entries = new Set<string>()
  for (const word of wordsOf(title)) {
    let beginning = ''
    for (const letter of [...word].slice(0, MAX_BEGINNING)) entries.add(beginning += letter)
    entries.add(word)
  }
  return [...entries].slice(0, MAX_ENTRIES)
}

/**
 * The conditions that `words` of a row must all meet, so that every word of the text begins a word of its title. Empty
 * for a text without words.
 */
export const searchedWords = (text: string): Array<string | RegExp> => wordsOf(text).flatMap(word => {
  const beginning = [...word].slice(0, MAX_BEGINNING).join('')
  return beginning === word ? [word] : [beginning, new RegExp(`^${word}`)]
})

const wordsOf = (text: string) => [...new Set(foldCase(text).match(WORD))]
