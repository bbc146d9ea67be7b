import type { Collection } from 'mongodb'
import type { LeaseDocument } from '../schemas/documents.js'
import { isDuplicateKey } from './errors.js'

export interface LeaseOptions {
  leases: Collection<LeaseDocument>
  /** The task that only one holder at a time may do. */
  name: string
  /** A unique name. */
  holder: string
  /** How long a holder that does not renew keeps it. */
  seconds: number
}

/** A lock that one process holds at a time, by the database's clock: the clocks of processes may differ. */
export function createLease ({ leases, name, holder, seconds }: LeaseOptions) {
  // as numbers, because SecantusDB finds every stored date equal to `$$NOW`
  const isAvailable = {
    $or: [{ $lte: [{ $toLong: '$until' }, { $toLong: '$$NOW' }] }, { $eq: ['$holder', { $literal: holder }] }]
  }
  const taken = { _id: { $literal: name }, holder: { $literal: holder }, until: { $add: ['$$NOW', seconds * 1000] } }
  return {
    /**
     * Takes the lease, or renews it. Call it before each step. False if another process holds it, even if this process
     * held it before.
     */
    async hold (): Promise<boolean> {
      try {
        const lease = await leases.findOneAndUpdate(
          { _id: name },
          [{ $replaceWith: { $cond: [isAvailable, taken, '$$ROOT'] } }],
          { upsert: true, returnDocument: 'after' }
        )
        return lease?.holder === holder
      } catch (error) {
        if (isDuplicateKey(error)) return false // two processes took it for the first time at once
        throw error
      }
    },

    /** Gives the lease up if this process holds it. */
    async release (): Promise<void> {
      await leases.deleteOne({ _id: name, holder })
    }
  }
}
