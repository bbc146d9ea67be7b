import { LRUCache } from 'lru-cache'
import type { Collection, WithId } from 'mongodb'
import type { RevokedDocument, SessionDocument } from '../schemas/documents.js'
import type { Clock, Log } from './ports.js'

/** For how long a process may believe in a session that another one has ended: with the request's own time, less than ten seconds. */
const TRUST_MS = 9_000
const TRUSTED = 10_000
const TOUCH_MS = 60_000

export interface SessionStoreOptions {
  sessions: Collection<SessionDocument | RevokedDocument>
  isBlocked: (phone: string) => Promise<boolean>
  now: Clock
  log: Log
}

export type SessionStore = ReturnType<typeof createSessionStore>

/** The sessions at rest, and what this process remembers of them for some seconds. */
export function createSessionStore ({ sessions, isBlocked, now, log }: SessionStoreOptions) {
  const cache = new LRUCache<string, Promise<SessionDocument | undefined>>({ max: TRUSTED, ttl: TRUST_MS, ttlResolution: 0, perf: { now: () => now().getTime() } })
  return { find, findNow, all, forget, remove }

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

  /** All of a phone, newest first: those, too, of which it is still being asked whether they may be opened. */
  async function all (phone: string): Promise<SessionDocument[]> {
    return (await sessions.find({ phone, expires_at: { $gt: now() } }).sort({ created_at: -1, _id: -1 }).toArray()).filter(isSession)
  }

  /** Makes this process ask the database the next time. */
  function forget (sid: string): void {
    cache.delete(sid)
  }

  /** Ends these sessions. One of a token that the replaced system issued leaves its id behind, or the token would open it again. */
  async function remove (found: SessionDocument[]): Promise<void> {
    const ids = found.map(({ _id }) => _id)
    await Promise.all(found.filter(({ legacy }) => legacy).map(({ _id, expires_at: expiresAt }) => sessions.replaceOne({ _id }, ended(now(), expiresAt))))
    if (ids.length > 0) await sessions.deleteMany({ _id: { $in: ids }, phone: { $exists: true } })
    for (const sid of ids) cache.delete(sid)
  }
}

const ended = (revokedAt: Date, expiresAt: Date): Omit<RevokedDocument, '_id'> => ({ revoked_at: revokedAt, expires_at: expiresAt })
export const isSession = (document: WithId<SessionDocument | RevokedDocument>): document is SessionDocument => 'phone' in document
