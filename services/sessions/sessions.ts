import { randomBytes } from 'node:crypto'
import type { Collection, UpdateFilter } from 'mongodb'
import type { LogoutScope, Session } from '../../schemas/auth.js'
import type { SessionDocument, UserDocument } from '../../schemas/documents.js'
import { revokeEvictedLegacy, revokeAllLegacy, hasRoomForEnded, newAccount, pushSession, UNBLOCKED } from '../account-row.js'
import type { Accounts } from '../accounts.js'
import { invalidRefreshToken, invalidToken, isDuplicateKey, sessionNotFound, signInAgain } from '../errors.js'
import type { Caller, Clock, RequestContext } from '../ports.js'
import { retryConflict } from '../retry.js'
import { createRefreshTokens } from './refresh-token.js'

const SECOND = 1000
const RECENT_MS = 10 * 60 * SECOND
const REFRESH_LIFE_MS = 30 * 24 * 3600 * SECOND
const REFRESH_GRACE_MS = 10 * SECOND

export interface SessionsOptions {
  users: Collection<UserDocument>
  accounts: Accounts
  /** Whether a new account with this number is an admin from the start. */
  isConfiguredAdmin: (phone: string) => boolean
  secret: string
  lifeSeconds: number
  now: Clock
}

export interface OpeningOptions {
  refreshable?: boolean
  /** The latest end of the session. */
  endsBy?: Date
}

type Reason = 'logout' | 'reused'

/** The sessions of accounts. A session that ends here ends at once in this process, and within 10 s in every other. */
export function createSessions ({ users, accounts, isConfiguredAdmin, secret, lifeSeconds, now }: SessionsOptions) {
  const tokens = createRefreshTokens(secret)
  return { open, list, present, end, logOut, refresh, requireRecent }

  /**
   * Signs in the account of a number, and creates it if there is none. The oldest session beyond ten ends. In an
   * account without a name all others end, because the number may have a new holder. Undefined for a blocked account.
   */
  async function open (
    phone: string,
    requestContext: RequestContext,
    { refreshable = false, endsBy }: OpeningOptions = {}
  ): Promise<Caller & { refreshToken?: string } | undefined> {
    const at = now()
    const session: SessionDocument = {
      id: randomBytes(12).toString('hex'),
      login_at: at,
      last_used_at: at,
      expires_at: ending(at, refreshable ? REFRESH_LIFE_MS : lifeSeconds * SECOND, endsBy),
      ...(endsBy && { ends_by: endsBy }),
      user_agent: requestContext.userAgent,
      ...(refreshable && { refresh: { n: 0, rotated_at: at } })
    }
    const account = await retryConflict('the account of a number', async () =>
      await joinNamed(phone, session) ?? await joinUnnamed(phone, session))
    if (!account) return undefined
    accounts.forget(account)
    requestContext.record('session.opened', account, { session: session.id })
    return {
      account,
      session,
      ...(refreshable && { refreshToken: tokens.issue(account._id.toHexString(), session.id, 0) })
    }
  }

  async function joinNamed (number: string, session: SessionDocument): Promise<UserDocument | undefined> {
    const before = await users.findOneAndUpdate(
      { number, username: { $exists: true }, ...UNBLOCKED },
      { $push: pushSession(session) },
      { returnDocument: 'before' }
    )
    if (!before) return undefined
    await revokeEvictedLegacy(users, before, session.login_at)
    return before
  }

  /** A duplicate key means that the account is blocked (null), or has a name now (undefined). */
  async function joinUnnamed (number: string, session: SessionDocument): Promise<UserDocument | null | undefined> {
    try {
      return await users.findOneAndUpdate(
        { number, username: { $exists: false }, ...UNBLOCKED },
        { $set: { sessions: [session] }, $setOnInsert: newAccount(session.login_at, isConfiguredAdmin(number)) },
        { upsert: true, returnDocument: 'after' }
      ) ?? undefined
    } catch (error) {
      if (!isDuplicateKey(error)) throw error
      return await users.findOne({ number, blocked: true }, { projection: { _id: 1 } }) ? null : undefined
    }
  }

  /** An account's live sessions, newest first. */
  function list (account: UserDocument): SessionDocument[] {
    return accounts.liveSessions(account)
  }

  /** The caller's live sessions as they may see them, newest first. */
  function present ({ account, session }: Caller): Session[] {
    return list(account).map(one => toSession(one, session.id))
  }

  /**
   * 403 unless the session's sign-in is at most 10 minutes old: a stolen token alone must not take an account over.
   * A refresh does not renew a sign-in, and a token of the replaced system was never one.
   */
  function requireRecent ({ legacy, login_at: signedInAt }: SessionDocument): void {
    if (legacy || now().getTime() - signedInAt.getTime() > RECENT_MS) throw signInAgain()
  }

  /** Ends one of the account's own sessions. 404 for every other. */
  async function end (sid: string, { account }: Caller, requestContext: RequestContext): Promise<void> {
    const session = list(account).find(({ id }) => id === sid)
    if (!session || !await endOne(account, session, requestContext, 'logout')) throw sessionNotFound()
  }

  /**
   * Signs the caller out. `current`: the session of this request, if it is still there. `others` and `all`: also the
   * sessions that legacy tokens have not opened yet; 401 when the caller's has ended meanwhile.
   */
  async function logOut (scope: LogoutScope, caller: Caller, requestContext: RequestContext): Promise<void> {
    if (scope === 'current') await endOne(caller.account, caller.session, requestContext, 'logout')
    else if (scope === 'others') await endOthers(caller, requestContext)
    else await endAll(caller, requestContext)
  }

  /** False when it was gone. A legacy token must never open its session again. */
  async function endOne (
    account: UserDocument,
    session: SessionDocument,
    requestContext: RequestContext,
    reason: Reason
  ): Promise<boolean> {
    const { id, legacy } = session
    const present = { _id: account._id, 'sessions.id': id }
    const pull = { sessions: { id } }
    const ended = legacy
      ? await updated({ ...present, ...hasRoomForEnded }, { $pull: pull, $push: { ended_legacy: id } }) ||
        await updated(present, { $pull: pull, ...revokeAllLegacy(now()) })
      : await updated(present, { $pull: pull })
    accounts.forget(account)
    if (ended) requestContext.record('session.revoked', account, { session: id, reason })
    return ended
  }

  async function updated (filter: object, update: UpdateFilter<UserDocument>): Promise<boolean> {
    return (await users.updateOne(filter, update)).matchedCount === 1
  }

  async function endOthers (caller: Caller, requestContext: RequestContext): Promise<void> {
    const { id: own } = caller.session
    await endMany(
      caller,
      { $pull: { sessions: { id: { $ne: own } } }, $set: { legacy_revoked_at: now() } },
      id => id !== own,
      requestContext
    )
  }

  async function endAll (caller: Caller, requestContext: RequestContext): Promise<void> {
    await endMany(caller, { $set: { sessions: [], legacy_revoked_at: now() } }, () => true, requestContext)
  }

  async function endMany (
    { account, session }: Caller,
    update: UpdateFilter<UserDocument>,
    isEnded: (id: string) => boolean,
    requestContext: RequestContext
  ): Promise<void> {
    const before = await users.findOneAndUpdate({ _id: account._id, 'sessions.id': session.id }, update, {
      returnDocument: 'before'
    })
    accounts.forget(account)
    if (!before) throw invalidToken()
    for (const { id } of before.sessions ?? []) {
      if (isEnded(id)) requestContext.record('session.revoked', account, { session: id, reason: 'logout' })
    }
  }

  /**
   * Rotates a refresh token (RFC 9700 §4.14.2). The previous one gets the same successor for 10 s, as parallel requests
   * need it. Every other old one counts as stolen, and ends the session. 401.
   */
  async function refresh (token: string, requestContext: RequestContext): Promise<Caller & { refreshToken: string }> {
    const presented = tokens.read(token)
    if (!presented) throw invalidRefreshToken()
    const { account: id, sid, n: presentedN } = presented
    return retryConflict('the session of a refresh token', async () => {
      const caller = await accounts.findCaller(id, sid, true)
      if (!caller?.session.refresh) throw invalidRefreshToken()
      const { account, session } = caller
      const { n, rotated_at: rotatedAt } = caller.session.refresh
      const at = now()
      if (presentedN === n) {
        const rotated = {
          last_used_at: at,
          expires_at: ending(at, REFRESH_LIFE_MS, session.ends_by),
          refresh: { n: n + 1, rotated_at: at }
        }
        if (!await rotate(account, sid, n, rotated)) return undefined
        requestContext.record('session.refreshed', account, { session: sid })
        return { account, session: { ...session, ...rotated }, refreshToken: tokens.issue(id, sid, n + 1) }
      }
      if (presentedN === n - 1 && at.getTime() - rotatedAt.getTime() <= REFRESH_GRACE_MS) {
        return { account, session, refreshToken: tokens.issue(id, sid, n) }
      }
      requestContext.record('refresh_token.reused', account, { session: sid })
      await endOne(account, session, requestContext, 'reused')
      throw invalidRefreshToken()
    })
  }

  async function rotate (
    account: UserDocument,
    sid: string,
    n: number,
    {
      last_used_at: lastUsedAt,
      expires_at: expiresAt,
      refresh
    }: Pick<SessionDocument, 'last_used_at' | 'expires_at' | 'refresh'>
  ): Promise<boolean> {
    const { matchedCount } = await users.updateOne(
      { _id: account._id, ...UNBLOCKED, sessions: { $elemMatch: { id: sid, 'refresh.n': n } } },
      {
        $set: {
          'sessions.$.last_used_at': lastUsedAt,
          'sessions.$.expires_at': expiresAt,
          'sessions.$.refresh': refresh
        }
      }
    )
    accounts.forget(account)
    return matchedCount === 1
  }
}

function ending (at: Date, lifeMs: number, endsBy?: Date): Date {
  return new Date(Math.min(at.getTime() + lifeMs, endsBy?.getTime() ?? Infinity))
}

/** A session as its owner may see it. `current`: the caller's session. */
const toSession = (
  { id, login_at: loginAt, last_used_at: lastUsedAt, expires_at: expiresAt, user_agent: userAgent }: SessionDocument,
  current: string
): Session => ({
  id,
  created_at: loginAt.toISOString(),
  last_used_at: lastUsedAt.toISOString(),
  expires_at: expiresAt.toISOString(),
  user_agent: userAgent,
  current: id === current
})
