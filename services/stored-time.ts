import type { ObjectId } from 'mongodb'

/** A stored moment: a date or, in rows of the replaced system, its text, in UTC unless it says otherwise; without either, the time in the row's id. */
export function storedTime (stored: unknown, id: ObjectId): Date {
  if (stored instanceof Date) return stored
  const text = String(stored)
  const date = new Date(/T[\d:.]+$/.test(text) ? `${text}Z` : text)
  return Number.isNaN(date.getTime()) ? id.getTimestamp() : date
}
