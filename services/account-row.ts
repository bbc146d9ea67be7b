import type { Collection, ObjectId } from 'mongodb'
import type { SessionDocument, UserDocument } from '../schemas/documents.js'

const MAX_SESSIONS = 10
const MAX_ENDED_LEGACY = 100

/** Rows of the replaced system that one account may have taken in. */
export const MAX_MERGED = 100

/** In a row that is not converted yet, `admin` is what the replaced system let users write. */
export const hasAdminRole = ({ admin, schema }: UserDocument) => admin === true && schema === 2

export const UNBLOCKED = { blocked: { $ne: true } } as const

/** The fields of a new account, except its number and its first session. */
export const newAccount = (at: Date, admin: boolean) => ({ schema: 2 as const, admin, created_on: at })

/** Adds a session to an account. The oldest session beyond ten goes. */
export const pushSession = (session: SessionDocument) => ({ sessions: { $each: [session], $slice: -MAX_SESSIONS } })

/** Matches while the list of ended legacy sessions has room. */
export const hasRoomForEnded = { [`ended_legacy.${MAX_ENDED_LEGACY - 1}`]: { $exists: false } }

/** Replaces that list when it is full: no legacy token that was issued until now opens a session any more. */
export const revokeAllLegacy = (at: Date) => ({ $set: { legacy_revoked_at: at }, $unset: { ended_legacy: '' as const } })

/** Revokes the legacy tokens of the sessions that a further one evicts: they open none again. */
export async function revokeEvictedLegacy (
  users: Collection<UserDocument>,
  { _id, sessions = [] }: UserDocument,
  at: Date
): Promise<void> {
  const out = sessions.slice(0, Math.max(0, sessions.length - MAX_SESSIONS + 1))
  const legacy = out.filter(session => session.legacy).map(({ id }) => id)
  if (legacy.length > 0) await revokeLegacy(users, _id, legacy, at)
}

async function revokeLegacy (users: Collection<UserDocument>, _id: ObjectId, ids: string[], at: Date): Promise<void> {
  const { matchedCount } = await users.updateOne({ _id, ...hasRoomForEnded }, {
    $push: { ended_legacy: { $each: ids } }
  })
  if (matchedCount === 0) await users.updateOne({ _id }, revokeAllLegacy(at))
}
