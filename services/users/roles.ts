import type { Collection } from 'mongodb'
import type { UserDocument } from '../../schemas/documents.js'
import { adminsOnly } from '../errors.js'
import { maskPhone } from '../phone.js'
import type { Caller, FindAccount, Log, RequestContext } from '../ports.js'

export interface RolesOptions {
  users: Collection<UserDocument>
  /** Whether a number is one of those whose code others know: such an account is never an admin. */
  isTestNumber: (phone: string) => boolean
  /** E.164, no test number among them. The account with one of them is an admin from the start. */
  adminNumbers: string[]
}

export type Roles = ReturnType<typeof createRoles>

/** What somebody may do beyond what everybody may. */
export function createRoles ({ users, isTestNumber, adminNumbers }: RolesOptions) {
  return { isTestNumber, findAccount, isAdmin, requireAdmin, isConfiguredAdmin, grantConfiguredAdmins }

  async function findAccount (number: string): ReturnType<FindAccount> {
    const account = await users.findOne({ number }, { projection: { blocked: 1 } })
    return {
      known: account !== null,
      blocked: account?.blocked === true,
      subject: account ? { _id: account._id, number } : number
    }
  }

  /** By the row that the session check has read. A token of the replaced system never has admin rights. */
  function isAdmin ({ account: { admin, number }, session }: Caller): boolean {
    return admin === true && !session.legacy && !(number !== undefined && isTestNumber(number))
  }

  /** 403 for everybody else. */
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
   * Makes admins of the accounts whose numbers are on the list, and tells which. Who is to be one no more must leave
   * the list first.
   */
  async function grantConfiguredAdmins (): Promise<UserDocument[]> {
    const appointed: UserDocument[] = []
    for (const number of adminNumbers) {
      const account = await users.findOneAndUpdate({ number, admin: { $ne: true } }, { $set: { admin: true } }, {
        returnDocument: 'after'
      })
      if (account) appointed.push(account)
    }
    return appointed
  }
}

/**
 * To be called when the account with a number of the list gives it up: the next account with that number is appointed,
 * too.
 */
export function warnOfFreedAdminNumber (log: Log, phone: string): void {
  log.warn({ event: 'admin.number_freed', phone: maskPhone(phone) },
    'A number of ADMIN_NUMBERS has lost its account: take it off the list, or its next holder is an admin')
}
