import type { Collection } from 'mongodb'
import type { UserDocument } from '../schemas/documents.js'
import { adminsOnly } from './errors.js'
import { maskPhone } from './phone.js'
import type { Log, Visitor } from './ports.js'

export interface StandingOptions {
  users: Collection<UserDocument>
  /** Whether a number is one of those whose code others know: such a user is never an admin. */
  isTestNumber: (phone: string) => boolean
  /** E.164, no test number among them. Whoever has one of them is an admin from the start. */
  adminNumbers: string[]
}

/** What somebody may do beyond what everybody may; asked of the database each time, so that a change holds at once. */
export function createStanding ({ users, isTestNumber, adminNumbers }: StandingOptions) {
  return { isTestNumber, findAccount, isBlocked, isAdmin, requireAdmin, isAppointed, appoint }

  async function findAccount (phone: string): Promise<{ known: boolean, blocked: boolean }> {
    const user = await users.findOne({ number: phone }, { projection: { blocked: 1 } })
    return { known: user !== null, blocked: user?.blocked === true }
  }

  async function isBlocked (phone: string): Promise<boolean> {
    return await users.findOne({ number: phone, blocked: true }, { projection: { _id: 1 } }) !== null
  }

  async function isAdmin (phone: string): Promise<boolean> {
    return !isTestNumber(phone) && await users.findOne({ number: phone, admin: true, blocked: { $ne: true } }, { projection: { _id: 1 } }) !== null
  }

  /** 403 for everybody else. */
  async function requireAdmin (phone: string, visitor: Visitor): Promise<void> {
    if (await isAdmin(phone)) return
    visitor.record('access.denied', phone, { reason: 'not an admin' })
    throw adminsOnly()
  }

  /** Whether a new user with this number is an admin from the start. */
  function isAppointed (phone: string): boolean {
    return adminNumbers.includes(phone)
  }

  /** Makes admins of the users whose numbers are on the list, and tells which. Who is to be one no more must leave the list first. */
  async function appoint (): Promise<string[]> {
    const appointed: string[] = []
    for (const phone of adminNumbers) {
      const { modifiedCount } = await users.updateOne({ number: phone, admin: { $ne: true } }, { $set: { admin: true } })
      if (modifiedCount === 1) appointed.push(phone)
    }
    return appointed
  }
}

/** To be called when the user of a number of the list gives it up: whoever has it next is appointed, too. */
export function warnOfVacancy (log: Log, phone: string): void {
  log.warn({ event: 'admin.vacant', phone: maskPhone(phone) }, 'A number of ADMIN_NUMBERS has lost its user: take it off the list, or its next holder is an admin')
}
