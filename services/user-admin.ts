import { ObjectId, type Collection, type Filter } from 'mongodb'
import type { UserDocument } from '../schemas/documents.js'
import type { ManagedUser, UserChange, UserPage, UserQuery } from '../schemas/users.js'
import { invalidField, sentences, userNotFound } from './errors.js'
import type { createMoves } from './moves.js'
import { maskPhone, requirePhone } from './phone.js'
import type { Visitor } from './ports.js'
import type { createSessions } from './sessions.js'
import type { createStanding } from './standing.js'
import { usernameKey } from './username.js'
import { numberOf, shownToSelf } from './users.js'

const MOST_PER_PAGE = 100
const DEFAULT_PER_PAGE = 50
/** After every text that begins as what stands before it (MongoDB compares the bytes of UTF-8). */
const LAST = '\u{10FFFF}'

export interface UserAdminOptions {
  users: Collection<UserDocument>
  sessions: Pick<ReturnType<typeof createSessions>, 'endAll'>
  moves: Pick<ReturnType<typeof createMoves>, 'finish'>
  standing: Pick<ReturnType<typeof createStanding>, 'isTestNumber'>
  region: string
}

/** What an admin does with other people's users. Whoever calls it has made sure that it is one. */
export function createUserAdmin ({ users, sessions, moves, standing, region }: UserAdminOptions) {
  return { list, change }

  /** One page in the order of ids; `username` is the beginning of a name, as names are compared. A row that has no unique name is found by its number alone. 400. */
  async function list ({ limit = DEFAULT_PER_PAGE, cursor, username = '', number }: UserQuery): Promise<UserPage> {
    const size = Math.min(limit, MOST_PER_PAGE)
    const key = usernameKey(username)
    const filter: Filter<UserDocument> = {
      ...(cursor !== undefined && { _id: { $gt: readCursor(cursor) } }),
      ...(key !== '' && { username_key: { $gte: key, $lt: key + LAST } }),
      ...(number !== undefined && { number: requirePhone(number, region, 'number').e164 })
    }
    const rows = await users.find(filter).sort({ _id: 1 }).limit(size + 1).toArray()
    const page = rows.slice(0, size)
    return { users: page.map(shownToAdmin), next_cursor: rows.length > size ? cursorAfter(page.at(-1)!) : null }
  }

  /** Makes somebody an admin or blocks them, or takes it back. Who is blocked has no session any more when this resolves. 400 a test number as admin, 404. */
  async function change (id: string, { admin, blocked }: UserChange, caller: string, visitor: Visitor): Promise<ManagedUser> {
    const changes = { ...(admin !== undefined && { admin }), ...(blocked !== undefined && { blocked }) }
    const before = await users.findOne({ _id: new ObjectId(id) })
    if (!before) throw userNotFound()
    if (admin && standing.isTestNumber(numberOf(before) ?? '')) throw invalidField('admin', sentences.value)
    if (Object.keys(changes).length === 0) return shownToAdmin(before)

    const user = await users.findOneAndUpdate({ _id: before._id }, { $set: changes }, { returnDocument: 'after' })
    if (!user) throw userNotFound()
    visitor.record('admin.changed', numberOf(user) ?? null, { by: maskPhone(caller), id, ...changes })
    if (blocked) await signOut(user, caller, visitor)
    return shownToAdmin(user)
  }

  async function signOut (user: UserDocument, caller: string, visitor: Visitor): Promise<void> {
    await moves.finish(user)
    const number = numberOf(user)
    if (number !== undefined) await sessions.endAll(number, by(caller, visitor), 'blocked')
  }
}

/** What is done to somebody is written down with who did it. */
const by = (caller: string, visitor: Visitor): Visitor =>
  ({ ...visitor, record: (event, phone, details) => visitor.record(event, phone, { ...details, by: maskPhone(caller) }) })

const shownToAdmin = (user: UserDocument): ManagedUser => ({ ...shownToSelf(user), blocked: user.blocked === true })

const cursorAfter = ({ _id }: UserDocument) => Buffer.from(_id.id).toString('base64url')

function readCursor (cursor: string): ObjectId {
  if (!/^[\w-]{16}$/.test(cursor)) throw invalidField('cursor', sentences.value)
  return new ObjectId(Buffer.from(cursor, 'base64url'))
}
