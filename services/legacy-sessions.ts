import type { Collection } from 'mongodb'
import type { RevokedDocument, SessionDocument } from '../schemas/documents.js'
import type { Claims } from './access-token.js'
import { digest } from './digest.js'
import { isDuplicateKey } from './errors.js'
import type { Clock, Visitor } from './ports.js'
import type { SessionStore } from './session-store.js'

/** Longer than any token of the replaced system lives. */
const LEGACY_LIFE_MS = 11 * 365 * 24 * 3600 * 1000

export interface LegacySessionsOptions {
  sessions: Collection<SessionDocument | RevokedDocument>
  store: SessionStore
  isBlocked: (phone: string) => Promise<boolean>
  /** To be called for every session that was opened. */
  welcome: (session: SessionDocument, visitor: Visitor) => Promise<void>
  secret: string
  now: Clock
}

/** Sessions of tokens that the replaced system has issued: they know of none, so each gets one on first use. */
export function createLegacySessions ({ sessions, store, isBlocked, welcome, secret, now }: LegacySessionsOptions) {
  return { adopt, bar }

  /**
   * The session of a token of the replaced system, opened on first use. Undefined when it was ended, or its phone is blocked or barred: which is asked
   * once the session is there, pending. Who forbids it meanwhile ends what is there, so that one of the two sees the other.
   */
  async function adopt ({ sid, legacy }: Required<Claims>, visitor: Visitor): Promise<SessionDocument | undefined> {
    const known = await store.find(sid)
    if (known) return known
    if (await sessions.findOne({ _id: sid, revoked_at: { $exists: true } })) return undefined
    const { phone, issuedAt, expiresAt } = legacy
    const at = now()
    const session: SessionDocument = { _id: sid, phone, created_at: at, last_used_at: at, expires_at: expiresAt, user_agent: visitor.userAgent, legacy: true, pending: true }
    await sessions.insertOne(session).catch((error: unknown) => { if (!isDuplicateKey(error)) throw error })
    const [blocked, bar] = await Promise.all([isBlocked(phone), sessions.findOne({ _id: barOf(phone), revoked_at: { $gte: issuedAt } })])
    if (blocked || bar) {
      await store.remove([session])
      return undefined
    }
    const { modifiedCount } = await sessions.updateOne({ _id: sid, pending: true }, { $unset: { pending: '' } })
    store.forget(sid)
    if (modifiedCount === 1) await welcome(session, visitor)
    return store.find(sid)
  }

  /** No token that the replaced system has issued to the phone until now opens a session any more. */
  async function bar (phone: string): Promise<void> {
    const at = now()
    await sessions.updateOne({ _id: barOf(phone) }, { $set: { revoked_at: at, expires_at: new Date(at.getTime() + LEGACY_LIFE_MS) } }, { upsert: true })
  }

  function barOf (phone: string): string {
    return digest(secret, 'legacy', phone)
  }
}
