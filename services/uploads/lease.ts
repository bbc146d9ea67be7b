import type { Collection } from 'mongodb'
import type { LeaseDocument } from '../../schemas/documents.js'
import { isDuplicateKey } from '../errors.js'

export interface LeaseOptions {
  leases: Collection<LeaseDocument>
  /** What only one holder at a time may do. */
  name: string
  /** Nobody else's name. */
  holder: string
  /** How long a holder that says nothing keeps it. */
  seconds: number
}

/** A right that one process has at a time, by the database's clock: those of the processes may differ. */
export function createLease ({ leases, name, holder, seconds }: LeaseOptions) {
  // as numbers: SecantusDB finds every stored date equal to `$$NOW`
  const toBeHad = {
    $or: [{ $lte: [{ $toLong: '$until' }, { $toLong: '$$NOW' }] }, { $eq: ['$holder', { $literal: holder }] }]
  }
  const ours = { _id: { $literal: name }, holder: { $literal: holder }, until: { $add: ['$$NOW', seconds * 1000] } }
  return {
    /**
     * Takes the lease, or renews it: to be asked before each step. False when somebody else has it, also when it was
     * ours.
     */
    async hold (): Promise<boolean> {
      try {
        const lease = await leases.findOneAndUpdate(
          { _id: name },
          [{ $replaceWith: { $cond: [toBeHad, ours, '$$ROOT'] } }],
          { upsert: true, returnDocument: 'after' }
        )
        return lease?.holder === holder
      } catch (error) {
        if (isDuplicateKey(error)) return false // two took it for the first time at once
        throw error
      }
    },

    /** Gives the lease up, if it is ours. */
    async release (): Promise<void> {
      await leases.deleteOne({ _id: name, holder })
    }
  }
}
