import { createPublicKey } from 'node:crypto'
import jwt, { type FastifyJWTOptions } from '@fastify/jwt'
import fp from 'fastify-plugin'
import type { Config } from '../schemas/env.js'
import { listOf, parseDuration, pemBlocks } from '../services/config.js'
import { unauthorized } from '../services/errors.js'
import { normalizePhone } from '../services/phone.js'

declare module '@fastify/jwt' {
  interface FastifyJWT {
    payload: { sub: string }
    user: { sub: string, iat: number, exp: number, iss: string, aud: string }
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Lets a request with a good access token pass; throws the 401 for every other. */
    authenticate: (request: FastifyRequest) => Promise<void>
    /** An access token for a phone, and the seconds it lives. */
    issueToken: (phone: string) => { token: string, expiresIn: number }
  }
  interface FastifyRequest {
    /** The phone number that the access token was issued to, E.164. */
    phone: string
  }
}

const ISSUER = 'hookaba'

/** `app.jwt`, `app.issueToken`, `app.authenticate`: JSON Web Tokens by one algorithm (RFC 7519, RFC 8725). */
export default fp(async function tokens (app) {
  const { config } = app
  const { JWT_ALGORITHM: algorithm, DEFAULT_REGION: region } = config
  const expiresIn = parseDuration(config.ACCESS_TOKEN_TTL)!
  await app.register(jwt, {
    secret: keysOf(config),
    sign: { algorithm, iss: ISSUER, aud: ISSUER, expiresIn },
    verify: { algorithms: [algorithm], allowedIss: ISSUER, allowedAud: ISSUER, requiredClaims: ['sub', 'iat', 'exp', 'iss', 'aud'] }
  })

  app.decorateRequest('phone', '')
  app.decorate('issueToken', phone => ({ token: app.jwt.sign({ sub: phone }), expiresIn }))
  app.decorate('authenticate', async request => {
    if (request.headers.authorization === undefined) throw unauthorized('Missing access token')
    request.phone = phoneOf(await request.jwtVerify().catch((cause: unknown) => { throw unauthorized(undefined, cause) }), region)
  })
}, { name: 'jwt', dependencies: ['env'] })

function keysOf ({ JWT_ALGORITHM, JWT_SECRET_KEY, JWT_PRIVATE_KEY = '' }: Config): FastifyJWTOptions['secret'] {
  if (JWT_ALGORITHM === 'HS256') return listOf(JWT_SECRET_KEY)[0]!
  const pem = pemBlocks(JWT_PRIVATE_KEY)[0]!
  return { private: pem, public: createPublicKey(pem).export({ type: 'spki', format: 'pem' }).toString() }
}

/** The subject, if the claims are what this service issues: fast-jwt checks that they are there, not their types. */
function phoneOf (claims: unknown, region: string): string {
  const { sub, iss, iat } = Object(claims) as Record<string, unknown>
  const phone = typeof sub === 'string' && normalizePhone(sub, region)
  if (!phone || iss !== ISSUER || typeof iat !== 'number') throw unauthorized()
  return phone
}
