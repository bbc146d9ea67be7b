import { LRUCache } from 'lru-cache'
import type { Accounts } from '../accounts.js'
import { invalidToken, missingToken } from '../errors.js'
import type { Caller, Clock, RequestContext } from '../ports.js'
import { withinDeadline } from '../request-deadline.js'
import { readClaims, readLegacyClaims, type LegacyTokenClaims, type TokenClaims } from './access-token.js'
import type { createLegacyTokens } from './legacy-tokens.js'
import type { SigningKey } from './signing-keys.js'

const REFRESHED_SECONDS = 15 * 60
/** Tokens whose claims are kept, so that they are decoded and verified once. Those of this service are much shorter. */
const MAX_CACHED_TOKENS = 1000
const MAX_CACHED_LENGTH = 1024
/** RFC 6750 §2.1 with a token in the compact form of RFC 7515 §7.1, and nothing around or between. */
const CREDENTIALS = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i

export interface Decoded { header: Record<string, unknown>, payload: Record<string, unknown> }

/** A key, and a library's JSON Web Tokens of it. */
export interface Codec {
  key: SigningKey
  sign: (claims: { sub: string, sid: string, iat: number, exp: number }) => string
  /** Throws unless the key has signed the token. Checks nothing else. */
  verify: (token: string) => Decoded
}

export interface TokensOptions {
  /** The first one signs. */
  codecs: Codec[]
  /** Reads a token without any check; null or an error for a text that is none. */
  decode: (token: string) => Decoded | null
  accounts: Accounts
  findLegacy: ReturnType<typeof createLegacyTokens>
  lifeSeconds: number
  region: string
  now: Clock
}

/** `expiresIn`: the seconds that the token lives. */
export interface IssuedToken { token: string, expiresIn: number }

/** Access tokens: JSON Web Tokens of this service's keys, each for its own algorithm (RFC 7519, RFC 8725). */
export function createTokens ({ codecs, decode, accounts, findLegacy, lifeSeconds, region, now }: TokensOptions) {
  const good = new LRUCache<string, TokenClaims | LegacyTokenClaims>({ max: MAX_CACHED_TOKENS })
  return { issue, authenticate }

  /** Issues a token for a session. It ends no later than the session; with a refresh token it lives 15 minutes. */
  function issue ({ account, session: { id: sid, expires_at: expiresAt, refresh } }: Caller): IssuedToken {
    const at = now().getTime()
    const remaining = Math.ceil((expiresAt.getTime() - at) / 1000)
    const expiresIn = Math.min(remaining, lifeSeconds, refresh ? REFRESHED_SECONDS : Infinity)
    const iat = Math.floor(at / 1000)
    return { token: codecs[0]!.sign({ sub: account._id.toHexString(), sid, iat, exp: iat + expiresIn }), expiresIn }
  }

  /**
   * The account and the open session of the token in an `Authorization` header. `fresh`: not as they were some seconds
   * ago. 401.
   */
  async function authenticate (
    authorization: string | undefined,
    fresh: boolean,
    requestContext: RequestContext
  ): Promise<Caller> {
    if (authorization === undefined) throw missingToken()
    const claims = claimsOf(authorization)
    if (!claims) throw invalidToken()
    const known = fresh || !('account' in claims) ? undefined : accounts.knownCaller(claims.account, claims.sid)
    const caller = known ?? await withinDeadline(() => callerOf(claims, fresh, requestContext))
    if (!caller) throw invalidToken()
    return caller
  }

  /** The claims of a good token. Once good, it stays so until it expires. */
  function claimsOf (authorization: string): TokenClaims | LegacyTokenClaims | undefined {
    const known = good.get(authorization)
    if (known) return known.expiresAt > now() ? known : undefined
    const claims = verify(authorization)
    if (claims && authorization.length <= MAX_CACHED_LENGTH) good.set(authorization, claims)
    return claims
  }

  /** The claims of the token, if a key of this service made it. */
  function verify (authorization: string): TokenClaims | LegacyTokenClaims | undefined {
    const token = CREDENTIALS.exec(authorization)?.[1]
    if (token === undefined) return undefined
    const at = now()
    const { alg, kid } = attempt(() => decode(token))?.header ?? {}
    for (const { key, verify } of codecs) {
      if (key.algorithm !== alg || (kid !== undefined && key.kid !== kid)) continue
      const decoded = attempt(() => verify(token))
      if (!decoded) continue
      const { header, payload } = decoded
      return attempt(() =>
        key.legacy
          ? readLegacyClaims(token, header, payload, at, region)
          : readClaims(token, header, payload, at))
    }
    return undefined
  }

  async function callerOf (
    claims: TokenClaims | LegacyTokenClaims,
    fresh: boolean,
    requestContext: RequestContext
  ): Promise<Caller | undefined> {
    return 'account' in claims
      ? accounts.findCaller(claims.account, claims.sid, fresh)
      : findLegacy(claims, fresh, requestContext)
  }
}

/** An issued token as the client gets it (RFC 6749 §5.1). */
export const toBearerReply = ({ token, expiresIn }: IssuedToken, refreshToken?: string) => ({
  access_token: token,
  token_type: 'Bearer',
  expires_in: expiresIn,
  ...(refreshToken !== undefined && { refresh_token: refreshToken })
})

/** Undefined in place of an error: a bad token concerns only its sender. */
function attempt <T> (work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
