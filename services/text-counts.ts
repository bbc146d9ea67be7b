import type { Collection } from 'mongodb'
import type { TextCountDocument } from '../schemas/documents.js'
import { isDuplicateKey } from './errors.js'

const MS = { hour: 3_600_000, day: 86_400_000 }
const KEPT_MS = MS.day
/** As in services/otp-states.ts. */
const MOST_RACES = 100
const CONTENDED = 'the count of a window changed at every attempt'

export type Window = keyof typeof MS
export const WINDOWS: Window[] = ['hour', 'day']

/** One part of the world in one calendar hour or day (UTC). */
export interface Bucket { _id: string, window: Window, dimension: string, value: string, end: number }

export interface Counts { sent: number, verified: number }

export function bucket (window: Window, dimension: string, value: string, at: Date): Bucket {
  const start = Math.floor(at.getTime() / MS[window]) * MS[window]
  return { _id: `${window}:${dimension}:${value}:${new Date(start).toISOString()}`, window, dimension, value, end: start + MS[window] }
}

/** How many texts went where, and how many of their codes were used; shared by all processes on one database. */
export function createTextCounts (texts: Collection<TextCountDocument>) {
  return {
    async read (buckets: Bucket[]): Promise<Map<string, TextCountDocument>> {
      const rows = await texts.find({ _id: { $in: buckets.map(({ _id }) => _id) } }).toArray()
      return new Map(rows.map(row => [row._id, row]))
    },

    /** Adds to every bucket. */
    async add (buckets: Bucket[], by: Counts): Promise<void> {
      await Promise.all(buckets.map(bucket => change(bucket, by)))
    },

    change,

    /** Counts one text unless `most` are counted already: by one conditional update, so that no race exceeds it. The count with it, or undefined. */
    async reserve (bucket: Bucket, most: number): Promise<TextCountDocument | undefined> {
      for (let race = 0; race < MOST_RACES; race++) {
        const row = await texts.findOneAndUpdate({ _id: bucket._id, sent: { $lt: most } }, { $inc: { sent: 1 } }, { returnDocument: 'after' })
        if (row) return row
        const found = await texts.findOne({ _id: bucket._id })
        if (found && found.sent >= most) return undefined
        if (!found) await begin(bucket)
      }
      throw new Error(CONTENDED)
    },

    /** Whether this is the first to raise the alarm for a bucket, of all processes. */
    async raiseAlarm ({ _id }: Bucket): Promise<boolean> {
      return (await texts.updateOne({ _id, alarmed: { $ne: true } }, { $set: { alarmed: true } })).modifiedCount === 1
    }
  }

  /** Adds to one bucket. What it holds then. */
  async function change (bucket: Bucket, { sent, verified }: Counts): Promise<Counts> {
    for (let race = 0; race < MOST_RACES; race++) {
      const row = await texts.findOneAndUpdate({ _id: bucket._id }, { $inc: { sent, verified } }, { returnDocument: 'after' })
      if (row) return row
      await begin(bucket)
    }
    throw new Error(CONTENDED)
  }

  /** An upsert that loses a race is answered in more ways than an insert that does. */
  async function begin ({ _id, end }: Bucket): Promise<void> {
    await texts.insertOne({ _id, sent: 0, verified: 0, purge_at: new Date(end + KEPT_MS) }).catch((error: unknown) => { if (!isDuplicateKey(error)) throw error })
  }
}
