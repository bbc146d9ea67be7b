import type { Collection, ObjectId } from 'mongodb'
import type { SessionDocument, UserDocument } from '../schemas/documents.js'

const MAX_SESSIONS = 10
const MAX_ENDED_LEGACY = 100

export const UNBLOCKED = { blocked: { $ne: true } } as const

/** What an account is made with, beside its number and its first session. */
export const newAccount = (at: Date, admin: boolean) => ({ schema: 2 as const, admin, created_on: at })

/** Adds a session to an account, whose oldest beyond ten it pushes out. */
export const pushed = (session: SessionDocument) => ({ sessions: { $each: [session], $slice: -MAX_SESSIONS } })

/** Room in the list of legacy sessions that were ended one by one. */
export const hasRoomForEnded = { [`ended_legacy.${MAX_ENDED_LEGACY - 1}`]: { $exists: false } }

/**
 * What takes the place of that list when it is full: no legacy token that was issued until now opens a session any
 * more.
 */
export const endsAllLegacy = (at: Date) => ({ $set: { legacy_revoked_at: at }, $unset: { ended_legacy: '' as const } })

/** Of the sessions that a further one pushes out, those whose legacy token must not open them again. */
export async function barPushedOut (
  users: Collection<UserDocument>,
  { _id, sessions = [] }: UserDocument,
  at: Date
): Promise<void> {
  const out = sessions.slice(0, Math.max(0, sessions.length - MAX_SESSIONS + 1))
  const legacy = out.filter(session => session.legacy).map(({ id }) => id)
  if (legacy.length > 0) await bar(users, _id, legacy, at)
}

async function bar (users: Collection<UserDocument>, _id: ObjectId, ids: string[], at: Date): Promise<void> {
  const {
    matchedCount
  } = await users.updateOne({ _id, ...hasRoomForEnded }, { $push: { ended_legacy: { $each: ids } } })
  if (matchedCount === 0) await users.updateOne({ _id }, endsAllLegacy(at))
}
