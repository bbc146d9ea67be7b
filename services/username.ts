import { invalidField, sentences } from './errors.js'

const LONGEST = 64
const forbidden = /[\p{Cc}\p{Cs}\u2028\u2029\u202A-\u202E\u2066-\u2069]/u
const invisible = /\p{Default_Ignorable_Code_Point}/gu

/**
 * The name as it is shown (trimmed, NFC) and the key that makes it unique: NFKC, without what cannot be seen,
 * and without case. Throws the 400 that names `username`.
 */
export function parseUsername (text: string): { username: string, key: string } {
  const username = text.trim().normalize('NFC')
  const length = [...username].length
  if (length < 1 || length > LONGEST) throw invalidField('username', sentences.length(1, LONGEST))
  const key = usernameKey(username)
  if (forbidden.test(username) || key === '') throw invalidField('username', sentences.value)
  return { username, key }
}

/** What makes a name unique, of any text: rows of the replaced system may hold names that are refused today. */
export const usernameKey = (username: string) =>
  withoutCase(username.normalize('NFKC').replace(invisible, '')).normalize('NFKC').trim()

/** Letter by letter, so that a final sigma is no other letter; by way of the small letters, so that ẞ is ss. */
const withoutCase = (text: string) => Array.from(text.toLowerCase().toUpperCase(), letter => letter.toLowerCase()).join('')
