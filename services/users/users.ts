import { ObjectId, type Collection, type Filter } from 'mongodb'
import type { UserDocument } from '../../schemas/documents.js'
import type { CurrentUser, CurrentUserChange, User, UserCreation } from '../../schemas/users.js'
import { hasAdminRole, newAccount, UNBLOCKED } from '../account-row.js'
import type { Accounts } from '../accounts.js'
import {
  foreignNumber,
  invalidField,
  invalidToken,
  isDuplicateKey,
  numberTaken,
  sentences,
  usernameTaken,
  userNotFound
} from '../errors.js'
import { insertIfAbsent } from '../insert-if-absent.js'
import { maskPhone, requirePhone } from '../phone.js'
import type { Caller, Clock, RequestContext } from '../ports.js'
import { retryConflict } from '../retry.js'
import { storedTime } from '../stored-time.js'
import type { Roles } from './roles.js'
import { parseUsername, usernameKey } from './username.js'

export interface UsersOptions {
  users: Collection<UserDocument>
  accounts: Accounts
  roles: Pick<Roles, 'isAdmin' | 'isConfiguredAdmin' | 'isTestNumber'>
  region: string
  requireOwnNumber: boolean
  now: Clock
}

/** A name as it was sent; a number in its normal form. */
interface Wanted { username: string, number: string, admin: boolean }

interface Naming { wanted: Wanted, caller: Caller, requestContext: RequestContext }

export function createUsers ({ users, accounts, roles, region, requireOwnNumber, now }: UsersOptions) {
  return { create, get, getOwn, change }

  /**
   * The id of the user with this name and number, named now or earlier. 400, 403 a foreign number, 409 name or number
   * taken.
   */
  async function create (
    { username, number: text, admin }: UserCreation,
    caller: Caller,
    requestContext: RequestContext
  ): Promise<string> {
    const number = requirePhone(text, region, 'number').e164
    const byAdmin = roles.isAdmin(caller)
    const own = number === caller.account.number
    if (byAdmin && admin) requireAdminAllowed(number)
    const wanted = { username, number, admin: byAdmin && admin === true }
    const user = own
      ? await nameOwn(wanted, caller, requestContext)
      : byAdmin || !requireOwnNumber
        ? await nameAny(wanted, caller, requestContext)
        : await refuseForeign(username, caller, requestContext)
    return user._id.toHexString()
  }

  /** 400 for a test number: others know its code. */
  function requireAdminAllowed (phone: string): void {
    if (roles.isTestNumber(phone)) throw invalidField('admin', sentences.value)
  }

  /** Hides whether a foreign number is registered: only the name decides between the two refusals. */
  async function refuseForeign (username: string, { account }: Caller, requestContext: RequestContext): Promise<never> {
    const { key } = parseUsername(username)
    requestContext.record('access.denied', account, { reason: 'foreign number' })
    throw await users.findOne({ username_key: key }, { projection: { _id: 1 } }) ? usernameTaken() : foreignNumber()
  }

  /** Tries first the row that the session check has read. */
  async function nameOwn (wanted: Wanted, caller: Caller, requestContext: RequestContext): Promise<UserDocument> {
    let { account } = caller
    return retryConflict('an account that is to be named', async () => {
      const user = account.username === undefined
        ? await nameAccount(account, { wanted, caller, requestContext }, ofSession(caller))
        : await withPair(account, wanted)
      if (user) return user
      const changed = await accounts.findCaller(account._id.toHexString(), caller.session.id, true)
      if (!changed) throw invalidToken()
      account = changed.account
      if (account.number !== wanted.number) await refuseForeign(wanted.username, caller, requestContext)
    })
  }

  /** Only an existing row decides: the row that refused an insert may be gone. */
  async function nameAny (wanted: Wanted, caller: Caller, requestContext: RequestContext): Promise<UserDocument> {
    return retryConflict('the account of a new user', async () => {
      const account = await users.findOne({ number: wanted.number })
      if (!account) return insert(wanted, caller, requestContext)
      return account.username === undefined
        ? nameAccount(account, { wanted, caller, requestContext })
        : withPair(account, wanted)
    })
  }

  /**
   * Finds also a stored name that is refused today, and a name of an account that was merged into this one. 409 for
   * another name.
   */
  async function withPair (account: UserDocument, { username }: Wanted): Promise<UserDocument> {
    const key = usernameKey(username)
    if (keyOf(account) === key || hadName(account, key)) return account
    parseUsername(username)
    throw numberTaken()
  }

  /** Gives an account its name; undefined when it has changed since it was read. */
  async function nameAccount (
    account: UserDocument,
    { wanted: { username: text, number, admin }, caller, requestContext }: Naming,
    condition: Filter<UserDocument> = {}
  ): Promise<UserDocument | undefined> {
    const { username, key } = parseUsername(text)
    try {
      const user = await users.findOneAndUpdate(
        { _id: account._id, number, username: { $exists: false }, deleting: { $exists: false }, ...condition },
        { $set: { username, username_key: key, ...(admin && { admin }) } },
        { returnDocument: 'after' }
      )
      accounts.forget(account)
      if (user) recordCreation(user, admin, caller, requestContext)
      return user ?? undefined
    } catch (error) {
      throw isDuplicateKey(error) ? usernameTaken() : error
    }
  }

  /** Creates an account for a number that never signed in. Undefined when another request was first. */
  async function insert (
    { username: text, number, admin }: Wanted,
    caller: Caller,
    requestContext: RequestContext
  ): Promise<UserDocument | undefined> {
    const { username, key } = parseUsername(text)
    const user: UserDocument = {
      _id: new ObjectId(),
      number,
      username,
      username_key: key,
      sessions: [],
      ...newAccount(now(), admin || roles.isConfiguredAdmin(number))
    }
    if (await insertIfAbsent(users, user)) {
      recordCreation(user, admin, caller, requestContext)
      return user
    }
    if (await users.findOne({ username_key: key, number: { $ne: number } }, { projection: { _id: 1 } })) {
      throw usernameTaken()
    }
    return undefined
  }

  function recordCreation (
    user: UserDocument,
    admin: boolean,
    { account: { _id: by } }: Caller,
    requestContext: RequestContext
  ): void {
    requestContext.record('user.created', user, {
      ...(!by.equals(user._id) && { by: by.toHexString() }),
      ...(admin && { admin })
    })
  }

  /**
   * One user as the caller may see them, also by the id of a row that the account took in. 404, also for an account
   * without a name.
   */
  async function get (id: string, caller: Caller): Promise<User> {
    const user = await findAccount(users, new ObjectId(id))
    if (user?.username === undefined) throw userNotFound()
    return toUser(user, user._id.equals(caller.account._id) || roles.isAdmin(caller))
  }

  /** The caller. 404 before they have a name. */
  function getOwn (caller: Caller): CurrentUser {
    requireNamed(caller)
    return toCurrentUser(caller.account)
  }

  function requireNamed ({ account }: Caller): void {
    if (account.username === undefined) throw userNotFound()
  }

  /**
   * Changes the caller's own user; a row of the replaced system gets its unique key. 400, 401 the session has ended
   * meanwhile, 404, 409 the name is taken.
   */
  async function change (
    { username }: CurrentUserChange,
    caller: Caller,
    requestContext: RequestContext
  ): Promise<CurrentUser> {
    if (username === undefined) return getOwn(caller)
    const { username: name, key } = parseUsername(username)
    requireNamed(caller)
    const user = await rename(caller, name, key)
    if (!user) throw invalidToken()
    requestContext.record('user.renamed', user)
    return toCurrentUser(user)
  }

  async function rename (caller: Caller, username: string, key: string): Promise<UserDocument | null> {
    const { account } = caller
    try {
      const user = await users.findOneAndUpdate(
        { _id: account._id, username: { $exists: true }, ...ofSession(caller) },
        { $set: { username, username_key: key } },
        { returnDocument: 'after' }
      )
      accounts.forget(account)
      return user
    } catch (error) {
      throw isDuplicateKey(error) ? usernameTaken() : error
    }
  }
}

/** Matches only while the session is there: an earlier block or sign-out wins. */
const ofSession = ({ session: { id } }: Caller): Filter<UserDocument> => ({ 'sessions.id': id, ...UNBLOCKED })

/** The account with this id, or the one that took in the row of the replaced system with this id. */
export async function findAccount (users: Collection<UserDocument>, id: ObjectId): Promise<UserDocument | null> {
  return await users.findOne({ _id: id }) ?? await users.findOne({ 'merged.id': id })
}

const hadName = ({ merged = [] }: UserDocument, key: string) =>
  key !== '' && merged.some(({ username }) => usernameKey(username) === key)

const keyOf = ({ username, username_key: key }: UserDocument) => key ?? usernameKey(String(username ?? ''))

/** A user as others see them; `whole`: with every digit of the number. */
export function toUser (user: UserDocument, whole: boolean): User {
  const number = user.number ?? user.old_number ?? ''
  return {
    _id: user._id.toHexString(),
    username: String(user.username ?? ''),
    number: whole ? number : maskPhone(number),
    created_on: storedTime(user.created_on, user._id).toISOString()
  }
}

/** A user as they see themselves. */
export const toCurrentUser = (user: UserDocument): CurrentUser => ({
  ...toUser(user, true),
  admin: hasAdminRole(user)
})
