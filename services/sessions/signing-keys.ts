import { createHash, createPrivateKey, createPublicKey, type JsonWebKey } from 'node:crypto'
import type { Config, Env } from '../../schemas/env.js'
import type { PublicKey } from '../../schemas/keys.js'
import { listOf, pemBlocks } from '../config.js'

/** A key of this service, for one algorithm and no other (RFC 8725 §3.1). Only pairs have a `kid`. */
export interface SigningKey {
  algorithm: Env['JWT_ALGORITHM']
  kid?: string
  secret: string | { private: string, public: string }
  /** The secret of the replaced system, only for its tokens. */
  legacy?: true
}

/** All keys that verify; the first of them signs. */
export function signingKeys ({
  JWT_ALGORITHM,
  JWT_SECRET_KEY,
  JWT_PRIVATE_KEY = ''
}: Pick<Config, 'JWT_ALGORITHM' | 'JWT_SECRET_KEY' | 'JWT_PRIVATE_KEY'>): SigningKey[] {
  const secrets = [...new Set(listOf(JWT_SECRET_KEY))].map((secret): SigningKey => ({ algorithm: 'HS256', secret }))
  const pairs = [...new Map(pemBlocks(JWT_PRIVATE_KEY).map(pairOf).map(pair => [pair.kid, pair])).values()]
  return JWT_ALGORITHM === 'HS256' ? [...secrets, ...pairs] : [...pairs, ...secrets]
}

/**
 * The keys for tokens of the replaced system: its secret whole, as given and trimmed. It is unknown which one it used.
 */
export function legacyKeys ({ JWT_LEGACY_SECRET: secret }: Pick<Config, 'JWT_LEGACY_SECRET'>): SigningKey[] {
  if (secret === undefined) return []
  return [...new Set([secret, secret.trim()])].map(secret => ({ algorithm: 'HS256', secret, legacy: true }))
}

function pairOf (pem: string): SigningKey {
  const jwk = createPrivateKey(pem).export({ format: 'jwk' })
  const key = createPrivateKey({ key: jwk, format: 'jwk' }) // names its curve, which a PEM may spell out instead
  return {
    algorithm: jwk.crv === 'Ed25519' ? 'EdDSA' : 'ES256',
    kid: thumbprint(jwk),
    secret: {
      private: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
      public: createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString()
    }
  }
}

/** RFC 7638: SHA-256 over the required members in the order of their names. */
function thumbprint ({ crv, kty, x, y }: JsonWebKey): string {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
}

/** The public halves of all pairs, for other verifiers (RFC 7517). */
export function publicKeys (keys: SigningKey[]): PublicKey[] {
  return keys.flatMap(({ algorithm, kid, secret }) => {
    if (typeof secret === 'string' || kid === undefined) return []
    const { kty = '', crv = '', x = '', y } = createPublicKey(secret.public).export({ format: 'jwk' })
    return [{ kty, crv, x, ...(y !== undefined && { y }), kid, use: 'sig' as const, alg: algorithm }]
  })
}
