import { ObjectId, type Collection } from 'mongodb'
import type { UserDocument } from '../schemas/documents.js'
import type { CurrentUser, User, UserCreation } from '../schemas/users.js'
import { foreignNumber, isDuplicateKey, numberTaken, orFail, usernameTaken, userNotFound } from './errors.js'
import { maskPhone, normalizePhone, requirePhone } from './phone.js'
import type { Clock } from './ports.js'
import { storedTime } from './stored-time.js'
import { parseUsername, usernameKey } from './username.js'

export interface UsersOptions {
  users: Collection<UserDocument>
  region: string
  requireOwnNumber: boolean
  now: Clock
}

export function createUsers ({ users, region, requireOwnNumber, now }: UsersOptions) {
  return {
    /** The id of the user with this name and number, made now or long ago. 400, 403 a foreign number, 409 name or number taken. */
    create ({ username, number }: UserCreation, caller: string): Promise<string> {
      const name = parseUsername(username)
      const phone = requirePhone(number, region, 'number')
      return orFail('User creation failed', false, requireOwnNumber && phone !== caller ? refuseForeign(name.key) : findOrInsert(name, phone))
    },

    /** One user as `caller` may see them. 404. */
    async get (id: string, caller: string): Promise<User> {
      const user = await users.findOne({ _id: new ObjectId(id) })
      if (!user) throw userNotFound()
      return shown(user, user.number !== undefined && normalizePhone(user.number, region) === caller)
    },

    /** The user whose number `caller` is. 404 before there is one. */
    async getByPhone (caller: string): Promise<CurrentUser> {
      const user = await users.findOne({ number: caller })
      if (!user) throw userNotFound()
      return { ...shown(user, true), admin: user.admin === true }
    }
  }

  /** Nobody learns whether a foreign number is registered: only the name decides between the two refusals. */
  async function refuseForeign (key: string): Promise<never> {
    throw await users.findOne({ username_key: key }, { projection: { _id: 1 } }) ? usernameTaken() : foreignNumber()
  }

  async function findOrInsert ({ username, key }: ReturnType<typeof parseUsername>, phone: string): Promise<string> {
    const existing = await sameNumber(key, phone)
    if (existing) return existing
    const user: UserDocument = { _id: new ObjectId(), username, username_key: key, number: phone, admin: false, created_on: now() }
    try {
      await users.insertOne(user)
      return user._id.toHexString()
    } catch (error) {
      if (!isDuplicateKey(error)) throw error
      const winner = await sameNumber(key, phone)
      if (winner) return winner
      throw usernameTaken()
    }
  }

  async function sameNumber (key: string, phone: string): Promise<string | undefined> {
    const user = await users.findOne({ number: phone })
    if (!user) return undefined
    if ((user.username_key ?? usernameKey(user.username)) !== key) throw numberTaken()
    return user._id.toHexString()
  }
}

const shown = ({ _id, username, old_number: oldNumber = '', number = oldNumber, created_on: createdOn }: UserDocument, whole: boolean): User => ({
  _id: _id.toHexString(),
  username,
  number: whole ? number : maskPhone(number),
  created_on: storedTime(createdOn, _id).toISOString()
})
