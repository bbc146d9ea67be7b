import type { Collection } from 'mongodb'
import type { UserDocument } from '../schemas/documents.js'

export interface StandingOptions {
  users: Collection<UserDocument>
  /** Whether a number is one of those whose code others know: such a user is never an admin. */
  isTestNumber: (phone: string) => boolean
}

/** What somebody may do beyond what everybody may; asked of the database each time, so that a change holds at once. */
export function createStanding ({ users, isTestNumber }: StandingOptions) {
  return {
    async isBlocked (phone: string): Promise<boolean> {
      return await users.findOne({ number: phone, blocked: true }, { projection: { _id: 1 } }) !== null
    },

    async isAdmin (phone: string): Promise<boolean> {
      return !isTestNumber(phone) && await users.findOne({ number: phone, admin: true, blocked: { $ne: true } }, { projection: { _id: 1 } }) !== null
    }
  }
}
