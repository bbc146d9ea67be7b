import { invalidField, sentences } from '../errors.js'
import { foldCase } from '../fold-case.js'

const MAX_LENGTH = 64
/**
 * A visible letter, digit, sign or symbol: not a mark alone, nor the blanks that Unicode counts as letters and symbols.
 */
const visible = /(?![\p{Default_Ignorable_Code_Point}\u2800\u{13441}\u{13442}\u{1D159}])[\p{L}\p{N}\p{P}\p{S}]/u
const forbidden = /[\p{Cc}\p{Cs}\u2028\u2029\u202A-\u202E\u2066-\u2069]/u

/** The name as it is shown (trimmed, NFC) and the key that makes it unique. Throws the 400 that names `username`. */
export function parseUsername (text: string): { username: string, key: string } {
  const username = text.trim().normalize('NFC')
  const length = [...username].length
  if (length < 1 || length > MAX_LENGTH) throw invalidField('username', sentences.length(1, MAX_LENGTH))
  const key = usernameKey(username)
  if (forbidden.test(username) || !visible.test(username) || key === '') throw invalidField('username', sentences.value)
  return { username, key }
}

/** The unique key of any text: rows of the replaced system may hold names that are refused today. */
export const usernameKey = foldCase
