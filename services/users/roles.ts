import type { Collection } from 'mongodb'
import type { UserDocument } from '../../schemas/documents.js'
import { hasAdminRole } from '../account-row.js'
import { adminsOnly } from '../errors.js'
import { maskPhone } from '../phone.js'
import type { Caller, AccountStateOf, Log, RequestContext } from '../ports.js'

export interface RolesOptions {
  users: Collection<UserDocument>
  /** Whether others know the code of a number: its account is never an admin. */
  isTestNumber: (phone: string) => boolean
  /** E.164, without test numbers. The account with one of them is an admin from the start. */
  adminNumbers: string[]
}

export type Roles = ReturnType<typeof createRoles>

/** The rights of admins, and their numbers. */
export function createRoles ({ users, isTestNumber, adminNumbers }: RolesOptions) {
  return { isTestNumber, accountStateOf, isAdmin, requireAdmin, isConfiguredAdmin, grantConfiguredAdmins }

  async function accountStateOf (number: string): ReturnType<AccountStateOf> {
    const account = await users.findOne({ number }, { projection: { blocked: 1 } })
    return {
      known: account !== null,
      blocked: account?.blocked === true,
      subject: account ? { _id: account._id, number } : number
    }
  }

  /** Uses the row of the session check. A token of the replaced system never has admin rights. */
  function isAdmin ({ account, session }: Caller): boolean {
    return hasAdminRole(account) && !session.legacy && !isTestNumber(account.number ?? '')
  }

  /** 403 for other callers. */
  function requireAdmin (caller: Caller, requestContext: RequestContext): void {
    if (isAdmin(caller)) return
    requestContext.record('access.denied', caller.account, { reason: 'not an admin' })
    throw adminsOnly()
  }

  /** Whether a new account with this number is an admin from the start. */
  function isConfiguredAdmin (phone: string): boolean {
    return adminNumbers.includes(phone)
  }

  /**
   * Makes admins of the accounts with listed numbers, and returns the new ones. A row that is not converted is left to
   * the next start. To end a role, take its number off the list first.
   */
  async function grantConfiguredAdmins (): Promise<UserDocument[]> {
    const appointed: UserDocument[] = []
    for (const number of adminNumbers) {
      const account = await users.findOneAndUpdate(
        { number, schema: 2, admin: { $ne: true } },
        { $set: { admin: true } },
        { returnDocument: 'after' }
      )
      if (account) appointed.push(account)
    }
    return appointed
  }
}

/** Warns that an account gave up a number of the list: the next account with that number becomes an admin, too. */
export function warnOfFreedAdminNumber (log: Log, phone: string): void {
  log.warn({ event: 'admin.number_freed', phone: maskPhone(phone) },
    'A number of ADMIN_NUMBERS has lost its account: take it off the list, or its next holder is an admin')
}
