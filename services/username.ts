import { caseless } from './caseless.js'
import { invalidField, sentences } from './errors.js'

const LONGEST = 64
const forbidden = /[\p{Cc}\p{Cs}\u2028\u2029\u202A-\u202E\u2066-\u2069]/u

/** The name as it is shown (trimmed, NFC) and the key that makes it unique. Throws the 400 that names `username`. */
export function parseUsername (text: string): { username: string, key: string } {
  const username = text.trim().normalize('NFC')
  const length = [...username].length
  if (length < 1 || length > LONGEST) throw invalidField('username', sentences.length(1, LONGEST))
  const key = usernameKey(username)
  if (forbidden.test(username) || key === '') throw invalidField('username', sentences.value)
  return { username, key }
}

/** What makes a name unique, of any text: rows of the replaced system may hold names that are refused today. */
export const usernameKey = caseless
