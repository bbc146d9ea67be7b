import { LRUCache } from 'lru-cache'
import { ObjectId, type Collection, type Filter } from 'mongodb'
import type { SessionDocument, UserDocument } from '../schemas/documents.js'
import type { Caller, Clock, Log } from './ports.js'

/** How long a process may trust an account row that it has read: with the request's own time, less than ten seconds. */
const TRUST_MS = 9_000
const MAX_CACHED_ACCOUNTS = 10_000
/** How often the use of a session is stored: once per hour, or per quarter of its idle time where that is shorter. */
const TOUCH_MS = 3600 * 1000

export interface AccountsOptions {
  users: Collection<UserDocument>
  /** A session that is unused for this long has ended; 0: never. */
  idleSeconds: number
  now: Clock
  log: Log
}

/** The account with a number, if there is one, and the caller, if the session lives. */
export interface Found { caller?: Caller, account: UserDocument | null }

/** A row that is being read, and then the row. */
interface Reading { row: Promise<UserDocument | null>, settled?: UserDocument | null }

export type Accounts = ReturnType<typeof createAccounts>

/** The account rows with their sessions, and this process's cache of them for some seconds. */
export function createAccounts ({ users, idleSeconds, now, log }: AccountsOptions) {
  const idleMs = idleSeconds > 0 ? idleSeconds * 1000 : Infinity
  const touchMs = Math.min(TOUCH_MS, idleMs / 4)
  const cache = new LRUCache<string, Reading>({
    max: MAX_CACHED_ACCOUNTS,
    ttl: TRUST_MS,
    ttlResolution: 0,
    perf: { now: () => now().getTime() }
  })
  return { knownCaller, findCaller, findByNumber, liveSessions, forget }

  /** The caller in the cached row, if the use of the session need not be stored. Reads nothing. */
  function knownCaller (id: string, sid: string): Caller | undefined {
    const account = cache.get(id)?.settled
    const caller = account ? callerOf(account, sid) : undefined
    return caller && !isTouchDue(caller.session) ? caller : undefined
  }

  /** The caller, while the session lives. Reads at most once. `fresh`: by what the database has now. */
  async function findCaller (id: string, sid: string, fresh: boolean): Promise<Caller | undefined> {
    return (await lookUp(id, { _id: new ObjectId(id) }, sid, fresh)).caller
  }

  /** Finds a caller as `find` does, in the account that has the number now. */
  function findByNumber (number: string, sid: string, fresh: boolean): Promise<Found> {
    return lookUp(number, { number }, sid, fresh)
  }

  /** Reads the row again if the cached one lacks the session: another process may have opened it. */
  async function lookUp (key: string, filter: Filter<UserDocument>, sid: string, fresh: boolean): Promise<Found> {
    const known = fresh ? undefined : await cache.get(key)?.row
    const trusted = known && callerOf(known, sid)
    const account = trusted ? trusted.account : await read(key, filter)
    const caller = trusted ?? (account ? callerOf(account, sid) : undefined)
    if (caller) await touch(caller)
    return { caller, account }
  }

  function read (key: string, filter: Filter<UserDocument>): Promise<UserDocument | null> {
    const reading: Reading = { row: users.findOne(filter) }
    cache.set(key, reading)
    reading.row.then(row => { reading.settled = row }, () => cache.delete(key))
    return reading.row
  }

  function callerOf (account: UserDocument, sid: string): Caller | undefined {
    if (account.blocked === true) return undefined
    const session = account.sessions?.find(({ id }) => id === sid)
    return session && isLive(session) ? { account, session } : undefined
  }

  function isLive ({ expires_at: expiresAt, last_used_at: lastUsedAt, legacy }: SessionDocument): boolean {
    const at = now().getTime()
    return expiresAt.getTime() > at && (legacy === true || at - lastUsedAt.getTime() < idleMs)
  }

  /** An account's live sessions, newest first. */
  function liveSessions ({ sessions = [] }: UserDocument): SessionDocument[] {
    return sessions.filter(isLive).reverse().sort((a, b) => b.login_at.getTime() - a.login_at.getTime())
  }

  function isTouchDue ({ last_used_at: lastUsedAt }: SessionDocument): boolean {
    return now().getTime() - lastUsedAt.getTime() >= touchMs
  }

  async function touch ({ account: { _id }, session }: Caller): Promise<void> {
    if (!isTouchDue(session)) return
    const at = now()
    const unused = { _id, sessions: { $elemMatch: { id: session.id, last_used_at: { $lt: at } } } }
    try {
      await users.updateOne(unused, { $set: { 'sessions.$.last_used_at': at } })
      session.last_used_at = at // also in the cached row, so that the next request writes nothing
    } catch (err) {
      log.warn({ event: 'session.touch_failed', err }, 'The last use of a session could not be written: it is tried again')
    }
  }

  /** Makes this process read the row anew next time. */
  function forget ({ _id, number }: Pick<UserDocument, '_id' | 'number'>): void {
    cache.delete(_id.toHexString())
    if (number !== undefined) cache.delete(number)
  }
}
