import { randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Collection, WithId } from 'mongodb'
import type { Session } from '../schemas/auth.js'
import type { RevokedDocument, SessionDocument } from '../schemas/documents.js'
import type { Claims } from './access-token.js'
import { digest } from './digest.js'
import { invalidRefreshToken, invalidToken, isDuplicateKey, sessionNotFound } from './errors.js'
import type { Clock, Log, Visitor } from './ports.js'
import { createRefreshTokens } from './refresh-token.js'

const SECOND = 1000
/** For how long a process may believe in a session that another one has ended: with the request's own time, less than ten seconds. */
const TRUST_MS = 9 * SECOND
const TRUSTED = 10_000
const TOUCH_MS = 60 * SECOND
const MOST_PER_PHONE = 10
const HANDOVER_MS = 24 * 3600 * SECOND
const REFRESH_LIFE_MS = 30 * 24 * 3600 * SECOND
const REFRESH_GRACE_MS = 10 * SECOND
const LEGACY_LIFE_MS = 11 * 365 * 24 * 3600 * SECOND

export interface SessionsOptions {
  sessions: Collection<SessionDocument | RevokedDocument>
  isBlocked: (phone: string) => Promise<boolean>
  secret: string
  lifeSeconds: number
  now: Clock
  log: Log
}

type Reason = 'former holder' | 'logout' | 'too many' | 'reused' | 'blocked' | 'deleted' | 'moved'

/** Who is signed in, where and until when. What is ended here is ended at once in this process, and within 10 s in every other. */
export function createSessions ({ sessions, isBlocked, secret, lifeSeconds, now, log }: SessionsOptions) {
  const cache = new LRUCache<string, Promise<SessionDocument | undefined>>({ max: TRUSTED, ttl: TRUST_MS, ttlResolution: 0, perf: { now: () => now().getTime() } })
  const tokens = createRefreshTokens(secret)
  const live = () => ({ expires_at: { $gt: now() } })
  return { open, adopt, find, findNow, list, end, leave, endOthers, endAll, refresh, move, endFormer }

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

  /**
   * The session of a token of the replaced system, opened on first use. Undefined when it was ended, or its phone is blocked or barred: which is asked
   * once the session is there, pending. Who forbids it meanwhile ends what is there, so that one of the two sees the other.
   */
  async function adopt ({ sid, legacy }: Required<Claims>, visitor: Visitor): Promise<SessionDocument | undefined> {
    const known = await find(sid)
    if (known) return known
    if (await sessions.findOne({ _id: sid, revoked_at: { $exists: true } })) return undefined
    const { phone, issuedAt, expiresAt } = legacy
    const at = now()
    const session: SessionDocument = { _id: sid, phone, created_at: at, last_used_at: at, expires_at: expiresAt, user_agent: visitor.userAgent, legacy: true, pending: true }
    await sessions.insertOne(session).catch((error: unknown) => { if (!isDuplicateKey(error)) throw error })
    const [blocked, bar] = await Promise.all([isBlocked(phone), sessions.findOne({ _id: barOf(phone), revoked_at: { $gte: issuedAt } })])
    if (blocked || bar) {
      await remove([session])
      return undefined
    }
    const { modifiedCount } = await sessions.updateOne({ _id: sid, pending: true }, { $unset: { pending: '' } })
    cache.delete(sid)
    if (modifiedCount === 1) await welcome(session, visitor)
    return find(sid)
  }

  async function welcome ({ _id: session, phone, legacy }: SessionDocument, visitor: Visitor): Promise<void> {
    visitor.record('session.opened', phone, { session, ...(legacy && { reason: 'legacy' }) })
    await revoke((await all(phone)).slice(MOST_PER_PHONE), visitor, 'too many')
  }

  /** The session, while it lives. */
  async function find (sid: string): Promise<SessionDocument | undefined> {
    const session = await (cache.get(sid) ?? load(sid))
    return session && session.expires_at > now() ? session : undefined
  }

  /** The same, by what the database has now. */
  function findNow (sid: string): ReturnType<typeof find> {
    cache.delete(sid)
    return find(sid)
  }

  function load (sid: string): Promise<SessionDocument | undefined> {
    const loading = read(sid)
    cache.set(sid, loading)
    loading.catch(() => cache.delete(sid))
    return loading
  }

  async function read (sid: string): Promise<SessionDocument | undefined> {
    const session = await sessions.findOne({ _id: sid })
    if (!session || !isSession(session) || session.pending || await isBlocked(session.phone)) return undefined
    const at = now()
    if (at.getTime() - session.last_used_at.getTime() >= TOUCH_MS) {
      await sessions.updateOne({ _id: sid, last_used_at: { $lt: at } }, { $set: { last_used_at: at } }).catch((err: unknown) => log.warn({ event: 'session.untouched', err }))
    }
    return session
  }

  /** A phone's sessions, newest first. */
  async function list (phone: string): Promise<SessionDocument[]> {
    return (await all(phone)).filter(({ pending }) => !pending)
  }

  async function all (phone: string): Promise<SessionDocument[]> {
    return (await sessions.find({ phone, ...live() }).sort({ created_at: -1, _id: -1 }).toArray()).filter(isSession)
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

  /** Ends all of a phone's sessions, also those that tokens of the replaced system have not opened yet. Resolves with their number. */
  async function endAll (phone: string, visitor: Visitor, reason: Reason = 'logout'): Promise<number> {
    await bar(phone)
    const found = await all(phone)
    await revoke(found, visitor, reason)
    return found.length
  }

  /**
   * Rotates a refresh token (RFC 9700 §4.14.2). The one before the current is answered with the same successor for 10 s, as parallel
   * requests need it; every older one was stolen from somebody, and ends the session. 401.
   */
  async function refresh (token: string, visitor: Visitor): Promise<{ session: SessionDocument, refreshToken: string }> {
    const presented = tokens.read(token)
    const found = presented && await sessions.findOne({ _id: presented.sid, ...live() })
    if (!presented || !found || !isSession(found) || !found.refresh || await isBlocked(found.phone)) throw invalidRefreshToken()
    const { generation, rotated_at: rotatedAt } = found.refresh
    const at = now()
    if (presented.generation === generation) {
      const rotated = { last_used_at: at, expires_at: ending(at, REFRESH_LIFE_MS, found.ends_by), refresh: { generation: generation + 1, rotated_at: at } }
      const { matchedCount } = await sessions.updateOne({ _id: found._id, 'refresh.generation': generation }, { $set: rotated })
      if (matchedCount === 0) return refresh(token, visitor)
      cache.delete(found._id)
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
    for (const sid of moving) cache.delete(sid)
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
    await remove(found)
    for (const { _id, phone } of found) visitor.record('session.revoked', phone, { session: _id, reason })
  }

  async function remove (found: SessionDocument[]): Promise<void> {
    const ids = found.map(({ _id }) => _id)
    await Promise.all(found.filter(({ legacy }) => legacy).map(({ _id, expires_at: expiresAt }) => sessions.replaceOne({ _id }, ended(now(), expiresAt))))
    if (ids.length > 0) await sessions.deleteMany({ _id: { $in: ids }, phone: { $exists: true }, legacy: { $exists: false } })
    for (const sid of ids) cache.delete(sid)
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

const ended = (revokedAt: Date, expiresAt: Date): Omit<RevokedDocument, '_id'> => ({ revoked_at: revokedAt, expires_at: expiresAt })
const ending = (at: Date, lifeMs: number, endsBy?: Date) => new Date(Math.min(at.getTime() + lifeMs, endsBy?.getTime() ?? Infinity))
const isSession = (document: WithId<SessionDocument | RevokedDocument>): document is SessionDocument => 'phone' in document

/** A session as its owner may see it, from the one with the id `current`. */
export const shownSession = ({ _id, created_at: createdAt, last_used_at: lastUsedAt, expires_at: expiresAt, user_agent: userAgent }: SessionDocument, current: string): Session => ({
  id: _id,
  created_at: createdAt.toISOString(),
  last_used_at: lastUsedAt.toISOString(),
  expires_at: expiresAt.toISOString(),
  user_agent: userAgent,
  current: _id === current
})
