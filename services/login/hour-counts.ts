import type { AnyBulkWriteOperation } from 'mongodb'
import type { CounterDocument } from '../../schemas/documents.js'

export const HOUR_MS = 3_600_000
/** Hours that a count remembers, the present one included. */
const KEPT_HOURS = 24
const LIFE_MS = 25 * HOUR_MS

export type CounterOperation = AnyBulkWriteOperation<CounterDocument>
type Update = Record<'$inc' | '$set' | '$unset', Record<string, unknown>>

/** The count of one SMS: the update with its bound, and its undo. */
export interface CounterWrite {
  operation: CounterOperation
  undo: CounterOperation[]
  /** For the log, once the update is written. */
  warning?: { event: string, message: string, fields: Record<string, unknown> }
}

export interface SmsCount {
  _id: string
  /** The document as it was read. */
  row: CounterDocument | undefined
  at: Date
  /** Conditions on the document. */
  bound: Record<string, unknown>
  update?: Partial<Update>
}

/** The hour of a time, counted from 1970. */
export const hourOf = (at: Date) => Math.floor(at.getTime() / HOUR_MS)
export const countsIn = (row: CounterDocument | undefined, hour: number) => ({
  sent: row?.hours?.[hour]?.sent ?? 0,
  verified: row?.hours?.[hour]?.verified ?? 0
})

/**
 * The SMS of the 24 hours up to `hour`, by hour. The next hour counts too: the clock of another process may be ahead.
 */
export function lastDay (row: CounterDocument | undefined, hour: number): Array<{ hour: number, sent: number }> {
  return Object.keys(row?.hours ?? {}).map(Number).filter(other => other > hour - KEPT_HOURS && other <= hour + 1)
    .sort((a, b) => a - b).map(other => ({ hour: other, sent: countsIn(row, other).sent }))
}

/** Counts one SMS if `bound` still holds. Removes old hours. */
export function countSms ({ _id, row, at, bound, update: { $inc, $set, $unset } = {} }: SmsCount): CounterOperation {
  const hour = hourOf(at)
  const old = Object.keys(row?.hours ?? {}).filter(other =>
    Number(other) <= hour - KEPT_HOURS || Number(other) > hour + 1)
  const unset = { ...$unset, ...Object.fromEntries(old.map(other => [`hours.${other}`, ''])) }
  const update = {
    $set: { ...$set, expires_at: new Date(at.getTime() + LIFE_MS) },
    ...($set?.[`hours.${hour}`] === undefined && { $inc: { ...$inc, [`hours.${hour}.sent`]: 1 } }),
    ...(Object.keys(unset).length > 0 && { $unset: unset })
  }
  return { updateOne: { filter: { _id, ...bound }, update: update as object, upsert: true } }
}

/** Changes an existing document. Does nothing without one, or where `bound` does not hold. */
export const change = (_id: string, bound: object, update: object): CounterOperation => ({
  updateOne: { filter: { _id, ...bound }, update }
})
export const uncountSms = (_id: string, at: Date): CounterOperation => change(_id, {}, {
  $inc: { [`hours.${hourOf(at)}.sent`]: -1 }
})
