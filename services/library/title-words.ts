import { foldCase } from '../fold-case.js'

const MAX_BEGINNING = 32
const MAX_ENTRIES = 512
/** A run of letters, marks and digits, or one emoji. */
const WORD = /[\p{L}\p{M}\p{N}]+|\p{Extended_Pictographic}/gu

/**
 * What a title is found by, for `words` of its row: every beginning of each of its words, as an index compares only
 * whole values
 * without losing its order; of a word of more than 32 letters the first 32 beginnings, and itself. At most 512.
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
 * What `words` of a row must all hold for every word of the text to begin a word of its title; nothing for a text
 * without words.
 */
export const searchedWords = (text: string): Array<string | RegExp> => wordsOf(text).flatMap(word => {
  const beginning = [...word].slice(0, MAX_BEGINNING).join('')
  return beginning === word ? [word] : [beginning, new RegExp(`^${word}`)]
})

const wordsOf = (text: string) => [...new Set(foldCase(text).match(WORD))]
