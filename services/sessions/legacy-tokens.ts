import { ObjectId, type Collection } from 'mongodb'
import type { ReleasedNumberDocument, SessionDocument, UserDocument } from '../../schemas/documents.js'
import { revokeEvictedLegacy, newAccount, pushSession, UNBLOCKED } from '../account-row.js'
import type { Accounts } from '../accounts.js'
import { insertIfAbsent } from '../insert-if-absent.js'
import type { Caller, Clock, RequestContext } from '../ports.js'
import { retryConflict } from '../retry.js'
import type { LegacyTokenClaims } from './access-token.js'

export interface LegacyTokensOptions {
  users: Collection<UserDocument>
  released: Collection<ReleasedNumberDocument>
  accounts: Accounts
  isConfiguredAdmin: (phone: string) => boolean
  /** When the replaced system stopped, if that is known: it issued nothing later. */
  takeover?: Date
  now: Clock
}

/**
 * Tokens of the replaced system. They name a phone number and no session, so each gets a session on first use, in the
 * account that has the number. The session ends with the token, is never a recent sign-in, and has no admin rights.
 */
export function createLegacyTokens ({
  users,
  released,
  accounts,
  isConfiguredAdmin,
  takeover,
  now
}: LegacyTokensOptions) {
  /** The caller. While the row with the number holds the session, that row alone decides: one read. */
  return async function findLegacyCaller (
    claims: LegacyTokenClaims,
    fresh: boolean,
    requestContext: RequestContext
  ): Promise<Caller | undefined> {
    if (takeover && claims.issuedAt > takeover) return undefined
    const caller = await retryConflict('the session of a legacy token', async race => {
      const { caller, account } = await accounts.findByNumber(claims.phone, claims.sid, fresh || race > 0)
      if (caller) return caller
      if ((account && !mayAdopt(account, claims)) || await wasGivenUp(claims, account)) return null
      return adopt(claims, account, requestContext)
    })
    return caller ?? undefined
  }

  /** Repeats the conditions of the update's filter, to tell a refusal from a lost race. */
  function mayAdopt (
    { blocked, legacy_revoked_at: revokedAt, ended_legacy: ended = [], sessions = [] }: UserDocument,
    { sid, issuedAt }: LegacyTokenClaims
  ): boolean {
    return blocked !== true &&
      !(revokedAt && revokedAt > issuedAt) &&
      !ended.includes(sid) &&
      !sessions.some(({ id }) => id === sid)
  }

  /** Whether another account gave the number up after the token was issued: it then owns the token. */
  async function wasGivenUp ({ phone, issuedAt }: LegacyTokenClaims, account: UserDocument | null): Promise<boolean> {
    const held = { number: phone, until: { $gt: issuedAt } }
    const [former, deleted] = await Promise.all([
      users.findOne({ former_numbers: { $elemMatch: held }, ...(account && { _id: { $ne: account._id } }) }, {
        projection: { _id: 1 }
      }),
      released.findOne({ _id: phone, until: { $gt: issuedAt } })
    ])
    return former !== null || deleted !== null
  }

  /** Opens the session by one update, whose filter excludes every refusal. Undefined when the row has changed. */
  async function adopt (
    { sid, phone, issuedAt, expiresAt }: LegacyTokenClaims,
    known: UserDocument | null,
    requestContext: RequestContext
  ): Promise<Caller | undefined> {
    const at = now()
    const session: SessionDocument = {
      id: sid,
      login_at: issuedAt,
      last_used_at: at,
      expires_at: expiresAt,
      user_agent: requestContext.userAgent,
      legacy: true
    }
    const account = await (known ? join(known, session, issuedAt) : createUnnamed(phone, session))
    if (!account) return undefined
    accounts.forget(account)
    requestContext.record('session.opened', account, { session: sid, reason: 'legacy' })
    return { account, session }
  }

  /** Only the account that was judged: another may have its number now. */
  async function join (
    { _id, number }: UserDocument,
    session: SessionDocument,
    issuedAt: Date
  ): Promise<UserDocument | null> {
    const before = await users.findOneAndUpdate(
      {
        _id,
        number,
        ...UNBLOCKED,
        legacy_revoked_at: { $not: { $gt: issuedAt } },
        ended_legacy: { $ne: session.id },
        'sessions.id': { $ne: session.id }
      },
      { $push: pushSession(session) },
      { returnDocument: 'before' }
    )
    if (before) await revokeEvictedLegacy(users, before, session.last_used_at)
    return before
  }

  /** Creates an account without a name. Undefined if the number has one now. */
  async function createUnnamed (number: string, session: SessionDocument): Promise<UserDocument | undefined> {
    const account: UserDocument = {
      _id: new ObjectId(),
      number,
      sessions: [session],
      ...newAccount(session.last_used_at, isConfiguredAdmin(number))
    }
    return await insertIfAbsent(users, account) ? account : undefined
  }
}
