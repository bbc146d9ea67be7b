import { ObjectId } from 'mongodb'

/** The range of RFC 3339 timestamps. */
const EARLIEST = Date.parse('0000-01-01T00:00:00Z')
const LATEST = Date.parse('9999-12-31T23:59:59.999Z')

/**
 * A stored time: a date or, in rows of the replaced system, a text, in UTC unless it says otherwise. Without either,
 * the time in the row's id, else 1970.
 */
export function storedTime (stored: unknown, id: unknown): Date {
  const date = stored instanceof Date ? stored : parse(String(stored))
  if (date.getTime() >= EARLIEST && date.getTime() <= LATEST) return date
  return id instanceof ObjectId ? id.getTimestamp() : new Date(0)
}

const parse = (text: string) => new Date(/T[\d:.]+$/.test(text) ? `${text}Z` : text)
