import jwt, { type JWT } from '@fastify/jwt'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { SessionDocument } from '../schemas/documents.js'
import { ISSUER, readClaims, type Claims } from '../services/access-token.js'
import { parseDuration } from '../services/config.js'
import { inTime } from '../services/database-wait.js'
import { invalidToken, missingToken } from '../services/errors.js'
import { publicKeys, signingKeys, type SigningKey } from '../services/signing-keys.js'

declare module '@fastify/jwt' {
  interface JWT {
    [key: `key${number}`]: JWT
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Lets a request with a good access token of a living session pass; throws the 401 for every other. */
    authenticate: (request: FastifyRequest) => Promise<void>
    /** To run after `authenticate`: throws the 403 unless the caller has signed in within the last 10 minutes. */
    requireRecentSignIn: (request: FastifyRequest) => Promise<void>
    /** An access token for a session, and the seconds it lives. */
    issueToken: (session: SessionDocument) => { token: string, expiresIn: number }
    /** The public keys that verify this service's tokens (RFC 7517). */
    publicKeys: ReturnType<typeof publicKeys>
  }
  interface FastifyRequest {
    /** The phone number that is signed in, E.164: the session's, whatever the token says. */
    phone: string
    sessionId: string
    /** The session as `authenticate` found it; null without it. */
    session: SessionDocument | null
  }
}

interface Decoded { header: Record<string, unknown>, payload: Record<string, unknown> }

const REFRESHED_SECONDS = 15 * 60
const REMEMBERED = 1000
/** RFC 6750 §2.1 with a token in the compact form of RFC 7515 §7.1, and nothing around or between. */
const CREDENTIALS = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i

/** `app.issueToken`, `app.authenticate`: JSON Web Tokens of our own keys, each for its own algorithm, and the sessions they name (RFC 7519, RFC 8725). */
export default fp(async function tokens (app) {
  const { config, now, sessions } = app
  const keys = signingKeys(config)
  const lifeSeconds = parseDuration(config.ACCESS_TOKEN_TTL)!
  const legacyRegion = config.JWT_ACCEPT_LEGACY ? config.DEFAULT_REGION : undefined
  const codecs: Array<JWT & { key: SigningKey }> = []
  for (const key of keys) {
    const { algorithm, kid, secret } = key
    const namespace = `key${codecs.length}` as const
    await app.register(jwt, {
      namespace,
      secret,
      sign: { algorithm, iss: ISSUER, aud: ISSUER, ...(kid && { kid }) },
      verify: { algorithms: [algorithm], cache: REMEMBERED, complete: true, ignoreExpiration: true, ignoreNotBefore: true }
    })
    codecs.push({ ...app.jwt[namespace]!, key })
  }
  const signer = codecs[0]!

  app.decorateRequest('phone', '')
  app.decorateRequest('sessionId', '')
  app.decorateRequest('session', null)
  app.decorate('publicKeys', publicKeys(keys))
  app.decorate('issueToken', ({ _id: sid, phone: sub, expires_at: expiresAt, refresh }) => {
    const at = now().getTime()
    const remaining = Math.ceil((expiresAt.getTime() - at) / 1000)
    const expiresIn = Math.min(remaining, lifeSeconds, refresh ? REFRESHED_SECONDS : Infinity)
    const iat = Math.floor(at / 1000)
    return { token: signer.sign({ sub, sid, iat, exp: iat + expiresIn }), expiresIn }
  })
  app.decorate('authenticate', async request => {
    if (request.headers.authorization === undefined) throw missingToken()
    const claims = claimsOf(request)
    const session = claims && await inTime(() => sessionOf(claims, request))
    if (!session) throw invalidToken()
    request.phone = session.phone
    request.sessionId = session._id
    request.session = session
  })

  app.decorate('requireRecentSignIn', async ({ session }) => {
    if (!session) throw missingToken()
    sessions.requireRecent(session)
  })

  /** What only reads may act on a session that another process ended some seconds ago; what changes something must not. */
  async function sessionOf ({ sid, legacy }: Claims, { method, visitor }: FastifyRequest): Promise<SessionDocument | undefined> {
    const known = await (method === 'GET' || method === 'HEAD' ? sessions.find(sid) : sessions.findNow(sid))
    return known ?? (legacy && sessions.adopt({ sid, legacy }, visitor))
  }

  /** What the request's token says, if one of our keys made it. */
  function claimsOf (request: FastifyRequest): Claims | undefined {
    const token = CREDENTIALS.exec(request.headers.authorization ?? '')?.[1]
    if (token === undefined) return undefined
    const at = now()
    const { alg, kid } = attempt(() => signer.decode<Decoded>(token, { complete: true }))?.header ?? {}
    for (const { key, verify } of codecs) {
      if (key.algorithm !== alg || (kid !== undefined && key.kid !== kid)) continue
      const good = attempt(() => verify<Decoded>(token))
      if (good) return attempt(() => readClaims(token, good.header, good.payload, at, legacyRegion))
    }
    return undefined
  }
}, { name: 'jwt', dependencies: ['env', 'clock', 'sessions', 'audit'] })

/** What goes wrong with a token is nobody's business but its sender's. */
function attempt <T> (work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
