import { randomBytes } from 'node:crypto'
import type { Collection } from 'mongodb'
import type { Session } from '../schemas/auth.js'
import type { RevokedDocument, SessionDocument } from '../schemas/documents.js'
import { invalidRefreshToken, invalidToken, sessionNotFound, signInAgain } from './errors.js'
import { createLegacySessions } from './legacy-sessions.js'
import type { Clock, Visitor } from './ports.js'
import { createRefreshTokens } from './refresh-token.js'
import { isSession, type SessionStore } from './session-store.js'

const SECOND = 1000
const MOST_PER_PHONE = 10
const RECENT_MS = 10 * 60 * SECOND
const HANDOVER_MS = 24 * 3600 * SECOND
const REFRESH_LIFE_MS = 30 * 24 * 3600 * SECOND
const REFRESH_GRACE_MS = 10 * SECOND

export interface SessionsOptions {
  sessions: Collection<SessionDocument | RevokedDocument>
  store: SessionStore
  isBlocked: (phone: string) => Promise<boolean>
  secret: string
  lifeSeconds: number
  now: Clock
}

type Reason = 'former holder' | 'logout' | 'too many' | 'reused' | 'blocked' | 'deleted'

/** Who is signed in, where and until when. What is ended here is ended at once in this process, and within 10 s in every other. */
export function createSessions ({ sessions, store, isBlocked, secret, lifeSeconds, now }: SessionsOptions) {
  const tokens = createRefreshTokens(secret)
  const { find, findNow, all, forget } = store
  const { adopt, bar } = createLegacySessions({ sessions, store, isBlocked, welcome, secret, now })
  return { open, adopt, find, findNow, list, end, leave, endOthers, endAll, refresh, move, endFormer, requireRecent }

  /** A new session, and its refresh token if one was asked for, that ends at `endsBy` at the latest; the phone's oldest beyond ten end. Undefined for a blocked phone. */
  async function open (phone: string, visitor: Visitor, { refreshable = false, endsBy }: { refreshable?: boolean, endsBy?: Date } = {}): Promise<{ session: SessionDocument, refreshToken?: string } | undefined> {
    const at = now()
    const session: SessionDocument = {
      _id: randomBytes(12).toString('hex'),
      phone,
      created_at: at,
      last_used_at: at,
      expires_at: ending(at, refreshable ? REFRESH_LIFE_MS : lifeSeconds * SECOND, endsBy),
      ...(endsBy && { ends_by: endsBy }),
      user_agent: visitor.userAgent,
      ...(refreshable && { refresh: { generation: 0, rotated_at: at } })
    }
    if (await isBlocked(phone)) return undefined
    await sessions.insertOne(session)
    await welcome(session, visitor)
    return { session, ...(refreshable && { refreshToken: tokens.issue(session._id, 0) }) }
  }

  async function welcome ({ _id: session, phone, legacy }: SessionDocument, visitor: Visitor): Promise<void> {
    visitor.record('session.opened', phone, { session, ...(legacy && { reason: 'legacy' }) })
    await revoke((await all(phone)).slice(MOST_PER_PHONE), visitor, 'too many')
  }

  /** A phone's sessions, newest first. */
  async function list (phone: string): Promise<SessionDocument[]> {
    return (await all(phone)).filter(({ pending }) => !pending)
  }

  /**
   * 403 unless the session's sign-in is at most 10 minutes old: a stolen token alone must not take an account over.
   * A refresh does not renew a sign-in, and a token of the replaced system was never one.
   */
  function requireRecent ({ legacy, created_at: signedInAt }: SessionDocument): void {
    if (legacy || now().getTime() - signedInAt.getTime() > RECENT_MS) throw signInAgain()
  }

  /** Ends one of the phone's own sessions. 404 for every other. */
  async function end (sid: string, phone: string, visitor: Visitor): Promise<void> {
    if (!await leave(sid, phone, visitor)) throw sessionNotFound()
  }

  /** Ends one of the phone's own sessions, if it is still there. */
  async function leave (sid: string, phone: string, visitor: Visitor): Promise<boolean> {
    const found = (await list(phone)).filter(({ _id }) => _id === sid)
    await revoke(found, visitor, 'logout')
    return found.length > 0
  }

  /** Ends all of a phone's sessions but one. */
  async function endOthers (sid: string, phone: string, visitor: Visitor): Promise<void> {
    await bar(phone)
    await revoke((await all(phone)).filter(({ _id }) => _id !== sid), visitor, 'logout')
  }

  /** Ends all of a phone's sessions, also those that tokens of the replaced system have not opened yet. */
  async function endAll (phone: string, visitor: Visitor, reason: Reason = 'logout'): Promise<void> {
    await bar(phone)
    await revoke(await all(phone), visitor, reason)
  }

  /**
   * Rotates a refresh token (RFC 9700 §4.14.2). The one before the current is answered with the same successor for 10 s, as parallel
   * requests need it; every older one was stolen from somebody, and ends the session. 401.
   */
  async function refresh (token: string, visitor: Visitor): Promise<{ session: SessionDocument, refreshToken: string }> {
    const presented = tokens.read(token)
    const found = presented && await sessions.findOne({ _id: presented.sid, expires_at: { $gt: now() } })
    if (!presented || !found || !isSession(found) || !found.refresh || await isBlocked(found.phone)) throw invalidRefreshToken()
    const { generation, rotated_at: rotatedAt } = found.refresh
    const at = now()
    if (presented.generation === generation) {
      const rotated = { last_used_at: at, expires_at: ending(at, REFRESH_LIFE_MS, found.ends_by), refresh: { generation: generation + 1, rotated_at: at } }
      const { matchedCount } = await sessions.updateOne({ _id: found._id, 'refresh.generation': generation }, { $set: rotated })
      if (matchedCount === 0) return refresh(token, visitor)
      forget(found._id)
      visitor.record('session.refreshed', found.phone, { session: found._id })
      return { session: { ...found, ...rotated }, refreshToken: tokens.issue(found._id, generation + 1) }
    }
    if (presented.generation === generation - 1 && at.getTime() - rotatedAt.getTime() <= REFRESH_GRACE_MS) {
      return { session: found, refreshToken: tokens.issue(found._id, generation) }
    }
    visitor.record('session.reused', found.phone, { session: found._id })
    await revoke([found], visitor, 'reused')
    throw invalidRefreshToken()
  }

  /**
   * What was opened for one phone until `before` belongs to another from now on, where it takes the place of what a former holder of that number has left.
   * Resolves with the ids of all that this move brought. Can be repeated, also at the same time.
   */
  async function move (from: string, to: string, before: Date, visitor: Visitor): Promise<string[]> {
    await Promise.all([bar(from), bar(to)])
    const former = await sessions.find({ phone: to, created_at: { $lte: before }, moved_at: { $not: { $gte: before } } }).toArray()
    await revoke(former.filter(isSession), visitor, 'former holder')
    const moving = (await sessions.find({ phone: from, created_at: { $lte: before } }).toArray()).map(({ _id }) => _id)
    await sessions.updateMany({ _id: { $in: moving } }, { $set: { phone: to, moved_at: before } })
    moving.forEach(forget)
    const moved = (await sessions.find({ phone: to, moved_at: before }).toArray()).map(({ _id }) => _id)
    await revoke((await all(to)).slice(MOST_PER_PHONE), visitor, 'too many')
    return moved
  }

  /**
   * Before the caller gets a user: ends what was opened for their phone more than a day before their own session. A number changes hands in weeks; the
   * devices of one person sign in within a day. Resolves with the caller's own session. 401 when it is none any more.
   */
  async function endFormer (sid: string, phone: string, visitor: Visitor): Promise<SessionDocument> {
    const open = await all(phone)
    const own = open.find(({ _id }) => _id === sid)
    if (!own) throw invalidToken()
    if (!own.legacy) await bar(phone)
    await revoke(open.filter(({ created_at: at }) => at.getTime() < own.created_at.getTime() - HANDOVER_MS), visitor, 'former holder')
    return own
  }

  async function revoke (found: SessionDocument[], visitor: Visitor, reason: Reason): Promise<void> {
    await store.remove(found)
    for (const { _id, phone } of found) visitor.record('session.revoked', phone, { session: _id, reason })
  }
}

const ending = (at: Date, lifeMs: number, endsBy?: Date) => new Date(Math.min(at.getTime() + lifeMs, endsBy?.getTime() ?? Infinity))

/** A session as its owner may see it, from the one with the id `current`. */
export const shownSession = ({ _id, created_at: createdAt, last_used_at: lastUsedAt, expires_at: expiresAt, user_agent: userAgent }: SessionDocument, current: string): Session => ({
  id: _id,
  created_at: createdAt.toISOString(),
  last_used_at: lastUsedAt.toISOString(),
  expires_at: expiresAt.toISOString(),
  user_agent: userAgent,
  current: _id === current
})
