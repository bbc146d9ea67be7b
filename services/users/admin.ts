import { ObjectId, type Collection, type Filter } from 'mongodb'
import type { ReportDocument, UserDocument } from '../../schemas/documents.js'
import type { ManagedUser, UserChange, UserPage, UserQuery } from '../../schemas/users.js'
import type { Accounts } from '../accounts.js'
import { invalidField, sentences, serverBusy, userNotFound } from '../errors.js'
import { requirePhone } from '../phone.js'
import type { Caller, Clock, RequestContext } from '../ports.js'
import type { Roles } from './roles.js'
import { usernameKey } from './username.js'
import { findAccount, toCurrentUser } from './users.js'

const MAX_PER_PAGE = 100
const DEFAULT_PER_PAGE = 50
/** Sorts after every text with the same beginning (MongoDB compares the bytes of UTF-8). */
const LAST = '\u{10FFFF}'

export interface UserAdminOptions {
  users: Collection<UserDocument>
  reports: Collection<ReportDocument>
  accounts: Pick<Accounts, 'forget'>
  roles: Pick<Roles, 'isTestNumber'>
  region: string
  now: Clock
}

/** Admin actions on users. The calling code has checked that the caller is an admin. */
export function createUserAdmin ({ users, reports, accounts, roles, region, now }: UserAdminOptions) {
  return { list, change }

  /**
   * One page in the order of ids. `username` is the beginning of a name, as names are compared. A search finds a row
   * without a unique name only by number. An account without a name is no user. 400.
   */
  async function list ({ limit = DEFAULT_PER_PAGE, cursor, username = '', number }: UserQuery): Promise<UserPage> {
    const size = Math.min(limit, MAX_PER_PAGE)
    const key = usernameKey(username)
    const filter: Filter<UserDocument> = {
      username: { $exists: true },
      ...(cursor !== undefined && { _id: { $gt: readCursor(cursor) } }),
      ...(key !== '' && { username_key: { $gte: key, $lt: key + LAST } }),
      ...(number !== undefined && { number: requirePhone(number, region, 'number').e164 })
    }
    const rows = await users.find(filter).sort({ _id: 1 }).limit(size + 1).toArray()
    const page = rows.slice(0, size)
    return { users: page.map(toManagedUser), next_cursor: rows.length > size ? cursorAfter(page.at(-1)!) : null }
  }

  /**
   * Makes a user an admin or blocks them, or takes it back. One update, so that a blocked user has no session and gets
   * none. The open reports of a blocked user hide nothing any more. 400 a test number as admin, 404, 503 while a
   * migration has not reached the user.
   */
  async function change (
    id: string,
    { admin, blocked }: UserChange,
    caller: Caller,
    requestContext: RequestContext
  ): Promise<ManagedUser> {
    const before = await findAccount(users, new ObjectId(id))
    if (!before || before.deleting) throw userNotFound()
    const there = { _id: before._id, deleting: { $exists: false } }
    if (admin && roles.isTestNumber(before.number ?? '')) throw invalidField('admin', sentences.value)
    if (before.schema !== 2) throw serverBusy(new Error('the migration has not reached this user yet'))
    const changes = { ...(admin !== undefined && { admin }), ...(blocked !== undefined && { blocked }) }
    if (Object.keys(changes).length === 0) return toManagedUser(before)

    const endsLegacy = blocked === true || (blocked === false && before.blocked === true)
    const user = await users.findOneAndUpdate(
      there,
      { $set: { ...changes, ...(blocked && { sessions: [] }), ...(endsLegacy && { legacy_revoked_at: now() }) } },
      { returnDocument: 'after' }
    )
    accounts.forget(before)
    if (!user) throw userNotFound()
    accounts.forget(user)
    if (blocked) await reports.updateMany({ account: user._id, open: true }, { $set: { counts_for_hiding: false } })
    const by = caller.account._id.toHexString()
    if (blocked) {
      for (const { id: session } of before.sessions ?? []) {
        requestContext.record('session.revoked', user, { session, reason: 'blocked', by })
      }
    }
    requestContext.record('user.rights_changed', user, { by, ...changes })
    return toManagedUser(user)
  }
}

const toManagedUser = (user: UserDocument): ManagedUser => ({ ...toCurrentUser(user), blocked: user.blocked === true })

const cursorAfter = ({ _id }: UserDocument) => Buffer.from(_id.id).toString('base64url')

function readCursor (cursor: string): ObjectId {
  if (!/^[\w-]{16}$/.test(cursor)) throw invalidField('cursor', sentences.value)
  return new ObjectId(Buffer.from(cursor, 'base64url'))
}
