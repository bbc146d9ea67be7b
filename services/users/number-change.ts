import type { Collection } from 'mongodb'
import type { UserDocument } from '../../schemas/documents.js'
import type { CurrentUser } from '../../schemas/users.js'
import { UNBLOCKED } from '../account-row.js'
import type { Accounts } from '../accounts.js'
import { invalidField, invalidToken, isDuplicateKey, numberTaken, sentences, tooManyNumbers } from '../errors.js'
import { maskPhone, requirePhone, type Phone } from '../phone.js'
import type { Caller, Clock, NumberVerification, RequestContext } from '../ports.js'
import type { AccountDeletion } from './deletion.js'
import { warnOfFreedAdminNumber, type Roles } from './roles.js'
import { toCurrentUser } from './users.js'

const MAX_FORMER_NUMBERS = 20
/** Attempts to take the number from accounts that have no name. */
const MAX_ATTEMPTS = 4
const DAY_SECONDS = 24 * 3600

export interface NumberChangeOptions {
  users: Collection<UserDocument>
  accounts: Accounts
  login: NumberVerification
  deletion: Pick<AccountDeletion, 'deleteUnnamed'>
  roles: Pick<Roles, 'isTestNumber' | 'isConfiguredAdmin'>
  region: string
  now: Clock
}

/**
 * A new phone number for an account whose owner can read its SMS, under the login's own rules. Only the holder learns
 * whether a user has the number.
 */
export function createNumberChange ({ users, accounts, login, deletion, roles, region, now }: NumberChangeOptions) {
  return { request, verify }

  /** Sends a code to the new number. 400, 429. */
  async function request (number: string, caller: Caller, requestContext: RequestContext): Promise<void> {
    const phone = requireAllowedNumber(number, caller)
    await login.requestOtp(phone, 'other', requestContext, 'number')
  }

  /** The user with their new number; undefined for a wrong code. 400, 401 the session has ended meanwhile, 409, 429. */
  async function verify (
    number: string,
    otp: string,
    caller: Caller,
    requestContext: RequestContext
  ): Promise<CurrentUser | undefined> {
    const phone = requireAllowedNumber(number, caller)
    if (!await login.verifyOtp(phone, otp, requestContext)) return undefined
    return toCurrentUser(await change(caller, phone.e164, requestContext))
  }

  /** Requires another number than the caller's. Neither may be a test number: others know its code. 400, 429. */
  function requireAllowedNumber (
    number: string,
    { account: { number: present = '', former_numbers: former = [] } }: Caller
  ): Phone {
    const phone = requirePhone(number, region, 'number')
    if (phone.e164 === present || roles.isTestNumber(phone.e164) || roles.isTestNumber(present)) {
      throw invalidField('number', sentences.value)
    }
    if (former.length >= MAX_FORMER_NUMBERS) throw tooManyNumbers(DAY_SECONDS)
    return phone
  }

  /**
   * The unique index decides which account has a number. An account without a name is deleted: its phone is the
   * caller's now.
   */
  async function change (
    { account: { _id }, session }: Caller,
    to: string,
    requestContext: RequestContext
  ): Promise<UserDocument> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const caller = await accounts.findCaller(_id.toHexString(), session.id, true)
      if (!caller) throw invalidToken()
      requireAllowedNumber(to, caller)
      try {
        const account = await renumber(caller, to)
        if (account) return changed(account, caller.account.number!, to, requestContext)
      } catch (error) {
        if (!isDuplicateKey(error)) throw error
        if (attempt < MAX_ATTEMPTS - 1) await deleteUnnamedHolder(to, requestContext)
      }
    }
    throw numberTaken()
  }

  async function renumber ({ account, session }: Caller, to: string): Promise<UserDocument | null> {
    const { _id, number: from } = account
    const at = now()
    const renumbered = await users.findOneAndUpdate(
      {
        _id,
        number: from,
        'sessions.id': session.id,
        ...UNBLOCKED,
        [`former_numbers.${MAX_FORMER_NUMBERS - 1}`]: { $exists: false }
      },
      {
        $set: { number: to, legacy_revoked_at: at },
        $pull: { sessions: { legacy: true } },
        $push: { former_numbers: { number: from!, until: at } }
      },
      { returnDocument: 'after' }
    )
    accounts.forget(account)
    return renumbered
  }

  async function deleteUnnamedHolder (number: string, requestContext: RequestContext): Promise<void> {
    const holder = await users.findOne({ number })
    if (!holder) return
    if (holder.username !== undefined || holder.blocked === true) throw numberTaken()
    await deletion.deleteUnnamed(holder, requestContext)
  }

  async function changed (
    account: UserDocument,
    from: string,
    to: string,
    requestContext: RequestContext
  ): Promise<UserDocument> {
    accounts.forget(account)
    requestContext.record('number.changed', account, { from: maskPhone(from), to: maskPhone(to) })
    if (roles.isConfiguredAdmin(from)) warnOfFreedAdminNumber(requestContext.log, from)
    await login.notifyOfNumberChange(from, requestContext)
    return account
  }
}
