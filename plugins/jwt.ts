import jwt, { type JWT } from '@fastify/jwt'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { isPlaceholder } from '../services/config.js'
import { withinDeadline } from '../services/request-deadline.js'
import { invalidToken, missingToken } from '../services/errors.js'
import type { Caller } from '../services/ports.js'
import {
  ISSUER,
  readClaims,
  readLegacyClaims,
  type TokenClaims,
  type LegacyTokenClaims
} from '../services/sessions/access-token.js'
import { createLegacyTokens } from '../services/sessions/legacy-tokens.js'
import { legacyKeys, publicKeys, signingKeys, type SigningKey } from '../services/sessions/signing-keys.js'

declare module '@fastify/jwt' {
  interface JWT {
    [key: `key${number}`]: JWT
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Accepts a request with a good access token of an open session. Throws 401 for every other. */
    authenticate: (request: FastifyRequest) => Promise<void>
    /** Run it after `authenticate`. Throws 403 unless the caller has signed in within the last 10 minutes. */
    requireRecentSignIn: (request: FastifyRequest) => Promise<void>
    /** Issues an access token for a session of an account. `expiresIn`: the seconds it lives. */
    issueToken: (caller: Caller) => { token: string, expiresIn: number }
    /** The public keys that verify this service's tokens (RFC 7517). */
    publicKeys: ReturnType<typeof publicKeys>
  }
  interface FastifyContextConfig {
    /** The route shows the account itself, and so must see recent changes of other processes. */
    showsAccount?: true
  }
  interface FastifyRequest {
    /** The account and session of the token. Set by `authenticate`. */
    caller: Caller
  }
}

interface Decoded { header: Record<string, unknown>, payload: Record<string, unknown> }

const REFRESHED_SECONDS = 15 * 60
const MAX_CACHED_TOKENS = 1000
/** RFC 6750 §2.1 with a token in the compact form of RFC 7515 §7.1, and nothing around or between. */
const CREDENTIALS = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i

/**
 * `app.issueToken`, `app.authenticate`: JSON Web Tokens of this service's keys, each for its own algorithm, and their
 * sessions (RFC 7519, RFC 8725).
 */
export default fp(async function tokens (app) {
  const { accounts, collections, config, now, roles, sessions } = app
  const keys = [...signingKeys(config), ...legacyKeys(config)]
  const { accessTokenSeconds: lifeSeconds } = config
  const findLegacy = createLegacyTokens({
    users: collections.users,
    released: collections.released_numbers,
    accounts,
    isConfiguredAdmin: roles.isConfiguredAdmin,
    takeover: (await collections.migration.findOne({ _id: 'takeover' }))?.at,
    now
  })
  if (isPlaceholder(config.JWT_LEGACY_SECRET?.trim() ?? '')) {
    app.log.warn(
      { event: 'legacy_secret.found_weak' },
      'JWT_LEGACY_SECRET is a known default: anybody can make a token for any phone number with it'
    )
  }
  const codecs: Array<JWT & { key: SigningKey }> = []
  for (const key of keys) {
    const { algorithm, kid, secret } = key
    const namespace = `key${codecs.length}` as const
    await app.register(jwt, {
      namespace,
      secret,
      sign: { algorithm, iss: ISSUER, aud: ISSUER, ...(kid && { kid }) },
      verify: {
        algorithms: [algorithm],
        cache: MAX_CACHED_TOKENS,
        complete: true,
        ignoreExpiration: true,
        ignoreNotBefore: true
      }
    })
    codecs.push({ ...app.jwt[namespace]!, key })
  }
  const signer = codecs[0]!

  app.decorateRequest('caller', null as unknown as Caller)
  app.decorate('publicKeys', publicKeys(keys))
  app.decorate('issueToken', ({ account, session: { id: sid, expires_at: expiresAt, refresh } }) => {
    const at = now().getTime()
    const remaining = Math.ceil((expiresAt.getTime() - at) / 1000)
    const expiresIn = Math.min(remaining, lifeSeconds, refresh ? REFRESHED_SECONDS : Infinity)
    const iat = Math.floor(at / 1000)
    return { token: signer.sign({ sub: account._id.toHexString(), sid, iat, exp: iat + expiresIn }), expiresIn }
  })
  app.decorate('authenticate', async request => {
    if (request.headers.authorization === undefined) throw missingToken()
    const claims = claimsOf(request)
    const caller = claims && await withinDeadline(() => callerOf(claims, request))
    if (!caller) throw invalidToken()
    request.caller = caller
  })
  app.decorate('requireRecentSignIn', async ({ caller }) => {
    sessions.requireRecent(caller.session)
  })

  /** A read may use a session that another process ended some seconds ago. A write must not. */
  async function callerOf (
    claims: TokenClaims | LegacyTokenClaims,
    { method, routeOptions, requestContext }: FastifyRequest
  ): Promise<Caller | undefined> {
    const fresh = (method !== 'GET' && method !== 'HEAD') || routeOptions.config.showsAccount === true
    return 'account' in claims
      ? accounts.findCaller(claims.account, claims.sid, fresh)
      : findLegacy(claims, fresh, requestContext)
  }

  /** The claims of the request's token, if a key of this service made it. */
  function claimsOf (request: FastifyRequest): TokenClaims | LegacyTokenClaims | undefined {
    const token = CREDENTIALS.exec(request.headers.authorization ?? '')?.[1]
    if (token === undefined) return undefined
    const at = now()
    const { alg, kid } = attempt(() => signer.decode<Decoded>(token, { complete: true }))?.header ?? {}
    for (const { key, verify } of codecs) {
      if (key.algorithm !== alg || (kid !== undefined && key.kid !== kid)) continue
      const good = attempt(() => verify<Decoded>(token))
      if (!good) continue
      const { header, payload } = good
      return attempt(() =>
        key.legacy
          ? readLegacyClaims(token, header, payload, at, config.DEFAULT_REGION)
          : readClaims(token, header, payload, at))
    }
    return undefined
  }
}, { name: 'jwt', dependencies: ['env', 'clock', 'mongo', 'accounts', 'roles', 'sessions', 'audit'] })

/** Undefined in place of an error: a bad token concerns only its sender. */
function attempt <T> (work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
