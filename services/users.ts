import { ObjectId, type Collection } from 'mongodb'
import type { UserDocument } from '../schemas/documents.js'
import type { CurrentUser, CurrentUserChange, User, UserCreation } from '../schemas/users.js'
import { foreignNumber, invalidField, isDuplicateKey, numberTaken, sentences, usernameTaken, userNotFound } from './errors.js'
import { maskPhone, normalizePhone, requirePhone } from './phone.js'
import type { Clock, Visitor } from './ports.js'
import type { createSessions } from './sessions.js'
import type { createStanding } from './standing.js'
import { storedTime } from './stored-time.js'
import { parseUsername, usernameKey } from './username.js'

export interface UsersOptions {
  users: Collection<UserDocument>
  sessions: Pick<ReturnType<typeof createSessions>, 'endFormer'>
  standing: Pick<ReturnType<typeof createStanding>, 'isAdmin' | 'isAppointed' | 'isTestNumber'>
  region: string
  requireOwnNumber: boolean
  now: Clock
}

/** Who asks, and by which session. */
export interface Caller { phone: string, sessionId: string }

/** As often as a row may come and go while one user is made. */
const MOST_RACES = 20

interface NewUser { username: string, key: string, phone: string, admin: boolean }

export function createUsers ({ users, sessions, standing, region, requireOwnNumber, now }: UsersOptions) {
  return { create, get, getByPhone, change }

  /** The id of the user with this name and number, made now or long ago. 400, 403 a foreign number, 409 name or number taken. */
  async function create ({ username, number, admin }: UserCreation, caller: Caller, visitor: Visitor): Promise<string> {
    const name = parseUsername(username)
    const phone = requirePhone(number, region, 'number').e164
    const foreign = requireOwnNumber && phone !== caller.phone
    const byAdmin = (foreign || admin !== undefined) && await standing.isAdmin(caller.phone)
    const asAdmin = byAdmin && mayBecomeAdmin(admin, phone)
    if (foreign && !byAdmin) await refuseForeign(name.key, caller.phone, visitor)
    return findOrInsert({ ...name, phone, admin: asAdmin || standing.isAppointed(phone) }, caller, visitor)
  }

  /** What an admin sent, if it will do. */
  function mayBecomeAdmin (admin: boolean | undefined, phone: string): boolean {
    if (admin === undefined) return false
    if (admin && standing.isTestNumber(phone)) throw invalidField('admin', sentences.value)
    return admin
  }

  /** Nobody learns whether a foreign number is registered: only the name decides between the two refusals. */
  async function refuseForeign (key: string, caller: string, visitor: Visitor): Promise<never> {
    visitor.record('access.denied', caller, { reason: 'foreign number' })
    throw await users.findOne({ username_key: key }, { projection: { _id: 1 } }) ? usernameTaken() : foreignNumber()
  }

  /**
   * An insert whose answer was lost is found again by its name and number, as is one that was quicker. What refused an insert may be gone when it is
   * looked for, as rows are while the database is migrated: only what is there decides.
   */
  async function findOrInsert ({ username, key, phone, admin }: NewUser, caller: Caller, visitor: Visitor): Promise<string> {
    const existing = await sameNumber(key, phone)
    if (existing) return existing
    const own = phone === caller.phone
    const since = own ? (await sessions.endFormer(caller.sessionId, phone, visitor)).created_at : now()
    const user: UserDocument = { _id: new ObjectId(), username, username_key: key, number: phone, admin, created_on: now(), number_since: since }
    for (let race = 0; race < MOST_RACES; race++) {
      if (await inserted(user)) {
        visitor.record('user.created', phone, { ...(!own && { by: maskPhone(caller.phone) }), ...(admin && { admin }) })
        return user._id.toHexString()
      }
      const winner = await sameNumber(key, phone)
      if (winner) return winner
      if (await users.findOne({ username_key: key, number: { $ne: phone } }, { projection: { _id: 1 } })) throw usernameTaken()
    }
    throw new Error('what refused a new user was never there')
  }

  async function inserted (user: UserDocument): Promise<boolean> {
    try {
      await users.insertOne(user)
      return true
    } catch (error) {
      if (!isDuplicateKey(error)) throw error
      return false
    }
  }

  async function sameNumber (key: string, phone: string): Promise<string | undefined> {
    const user = await users.findOne({ number: phone })
    if (!user) return undefined
    if ((user.username_key ?? usernameKey(user.username)) !== key) throw numberTaken()
    return user._id.toHexString()
  }

  /** One user as `caller` may see them. 404. */
  async function get (id: string, caller: string): Promise<User> {
    const user = await users.findOne({ _id: new ObjectId(id) })
    if (!user) throw userNotFound()
    const number = numberOf(user)
    const own = number !== undefined && normalizePhone(number, region) === caller
    return shown(user, own || await standing.isAdmin(caller))
  }

  /** The user whose number `caller` is. 404 before there is one. */
  async function getByPhone (caller: string): Promise<CurrentUser> {
    const user = await users.findOne({ number: caller })
    if (!user) throw userNotFound()
    return shownToSelf(user)
  }

  /** Changes what a user may change of their own; a row of the replaced system gets its unique key. 400, 404, 409 the name is taken. */
  async function change ({ username }: CurrentUserChange, caller: string, visitor: Visitor): Promise<CurrentUser> {
    if (username === undefined) return getByPhone(caller)
    const { username: name, key } = parseUsername(username)
    const user = await rename(caller, name, key)
    if (!user) throw userNotFound()
    visitor.record('user.renamed', caller)
    return shownToSelf(user)
  }

  async function rename (caller: string, username: string, key: string): Promise<UserDocument | null> {
    try {
      return await users.findOneAndUpdate({ number: caller }, { $set: { username, username_key: key } }, { returnDocument: 'after' })
    } catch (error) {
      throw isDuplicateKey(error) ? usernameTaken() : error
    }
  }
}

/** The number, if it is one: rows that nobody has migrated may hold anything. */
export const numberOf = ({ number }: UserDocument): string | undefined => typeof number === 'string' ? number : undefined

/** A user as the world sees them; `whole`: with every digit of the number. */
export function shown (user: UserDocument, whole: boolean): User {
  const number = numberOf(user) ?? user.old_number ?? ''
  return {
    _id: user._id.toHexString(),
    username: String(user.username ?? ''),
    number: whole ? number : maskPhone(number),
    created_on: storedTime(user.created_on, user._id).toISOString()
  }
}

/** A user as they see themselves. */
export const shownToSelf = (user: UserDocument): CurrentUser => ({ ...shown(user, true), admin: user.admin === true })
