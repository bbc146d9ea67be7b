import type { Collection, Filter, ObjectId } from 'mongodb'
import type { ReleasedNumberDocument, UserDocument } from '../../schemas/documents.js'
import { UNBLOCKED } from '../account-row.js'
import type { Accounts } from '../accounts.js'
import { invalidToken } from '../errors.js'
import type { Caller, Clock, Log, Ownership, RequestContext } from '../ports.js'
import { retryConflict } from '../retry.js'
import { warnOfFreedAdminNumber } from './roles.js'

/** Longer than any token of the replaced system lives. */
const LEGACY_LIFE_MS = 11 * 365 * 24 * 3600 * 1000
/** A request's time beyond the longest upload, and the difference of clocks. */
const MARGIN_SECONDS = 60

export interface AccountDeletionOptions {
  users: Collection<UserDocument>
  released: Collection<ReleasedNumberDocument>
  accounts: Accounts
  ownership: Pick<Ownership, 'disownAll'>
  isConfiguredAdmin: (phone: string) => boolean
  /** The longest an upload may take. */
  longestSeconds: number
  now: Clock
  log: Log
}

export type AccountDeletion = ReturnType<typeof createAccountDeletion>

/** Deletes accounts. The number is free at once; the row goes when nothing can refer to it any more. */
export function createAccountDeletion ({
  users,
  released,
  accounts,
  ownership,
  isConfiguredAdmin,
  longestSeconds,
  now,
  log
}: AccountDeletionOptions) {
  return { deleteAccount, deleteUnnamed, abandoned, finish }

  /**
   * Signs the caller out everywhere, frees name and number, and keeps the items without an owner. 401 when the session
   * has ended meanwhile. The login's counts for the phone expire by themselves, the audit after 90 days.
   */
  async function deleteAccount (caller: Caller, requestContext: RequestContext): Promise<void> {
    const { id: sid } = caller.session
    let { account } = caller
    await retryConflict('an account that is to be deleted', async () => {
      if (await mark(account, { 'sessions.id': sid })) return true
      const changed = await accounts.findCaller(account._id.toHexString(), sid, true)
      if (!changed) throw invalidToken()
      account = changed.account
    })
    requestContext.record('user.deleted', account)
    if (account.number !== undefined && isConfiguredAdmin(account.number)) warnOfFreedAdminNumber(log, account.number)
    await finishNow(account._id)
  }

  /**
   * Deletes an account without a name, because its number has a new holder. False when it has a name by now, or is
   * blocked.
   */
  async function deleteUnnamed (account: UserDocument, requestContext: RequestContext): Promise<boolean> {
    if (!await mark(account, { username: { $exists: false } })) return false
    requestContext.record('user.deleted', account, { reason: 'number changed' })
    await finishNow(account._id)
    return true
  }

  /**
   * Marks an unchanged account as deleted; else false. Notes its numbers first: their legacy tokens must not open the
   * next holder's account.
   */
  async function mark (account: UserDocument, condition: Filter<UserDocument>): Promise<boolean> {
    const { _id, number } = account
    const at = now()
    await releaseNumbers(account, at)
    const { matchedCount } = await users.updateOne(
      {
        _id,
        number: number ?? { $exists: false },
        deleting: { $exists: false },
        ...UNBLOCKED,
        ...condition
      } as Filter<UserDocument>,
      {
        $set: { deleting: at, sessions: [], admin: false },
        $unset: {
          number: '',
          username: '',
          username_key: '',
          former_numbers: '',
          merged: '',
          ended_legacy: '',
          legacy_revoked_at: '',
          blocks: '',
          reported: '',
          report_times: '',
          has_hidden: ''
        }
      }
    )
    accounts.forget(account)
    return matchedCount === 1
  }

  async function releaseNumbers ({ number, former_numbers: former = [] }: UserDocument, at: Date): Promise<void> {
    const numbers = [...former, ...(number === undefined ? [] : [{ number, until: at }])]
    if (numbers.length === 0) return
    await released.bulkWrite(numbers.map(({ number, until }) => ({
      updateOne: {
        filter: { _id: number },
        update: { $max: { until, expires_at: new Date(until.getTime() + LEGACY_LIFE_MS) } },
        upsert: true
      }
    })), { ordered: false })
  }

  /** The account is gone already. A sweep repeats what fails here. */
  async function finishNow (id: ObjectId): Promise<void> {
    await ownership.disownAll(id).catch((err: unknown) => {
      log.error(
        { event: 'account.release_failed', id: id.toHexString(), err },
        'What a deleted account had could not be released yet: a sweep does it'
      )
    })
  }

  /** Deleted accounts without an upload or other request that can be under way. */
  async function abandoned (): Promise<ObjectId[]> {
    const latest = new Date(now().getTime() - (longestSeconds + MARGIN_SECONDS) * 1000)
    return users
      .find({ deleting: { $lte: latest } }, { projection: { _id: 1 }, limit: 100 })
      .map(({ _id }) => _id)
      .toArray()
  }

  /** Repeats the release of everything that belonged to a deleted account, and removes its row. */
  async function finish (id: ObjectId): Promise<boolean> {
    await ownership.disownAll(id)
    const { deletedCount } = await users.deleteOne({ _id: id, deleting: { $exists: true } })
    return deletedCount === 1
  }
}
