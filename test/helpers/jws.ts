import {
  createHash, createHmac, createPublicKey, generateKeyPairSync, randomUUID, sign, type KeyObject
} from 'node:crypto'

/** JSON Web Signatures (RFC 7515) by Node's crypto alone, so that a test signs without the code that it tests. */
export interface Signer {
  header: Record<string, unknown>
  sign: (text: string) => Buffer
}

export type Json = Record<string, unknown>

export const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url')

/** The compact form. A `header` or `payload` that is a string or a Buffer is taken as it is. */
export function compact (header: Json | string | Buffer, payload: unknown, sign: Signer['sign']): string {
  const text = `${segment(header)}.${segment(payload)}`
  return `${text}.${sign(text).toString('base64url')}`
}

const segment = (part: unknown) => typeof part === 'string' || part instanceof Buffer
  ? Buffer.from(part).toString('base64url')
  : encode(part)

export const hmac = (secret: string | Buffer, hash = 'sha256') => (text: string) => createHmac(hash, secret)
  .update(text)
  .digest()

export const sharedSecret = (secret: string): Signer => ({ header: { alg: 'HS256', typ: 'JWT' }, sign: hmac(secret) })

export const keyPair = (key: KeyObject, kid = thumbprint(key)): Signer => ({
  header: { alg: key.asymmetricKeyType === 'ed25519' ? 'EdDSA' : 'ES256', typ: 'JWT', kid },
  sign: text => key.asymmetricKeyType === 'ed25519'
    ? sign(null, Buffer.from(text), key)
    : sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' })
})

/** The thumbprint of a key (RFC 7638 §3.2 and RFC 8037 §2), written out. */
export function thumbprint (key: KeyObject): string {
  const { kty, crv, x, y } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' })
  const members = y === undefined
    ? `{"crv":"${crv}","kty":"${kty}","x":"${x}"}`
    : `{"crv":"${crv}","kty":"${kty}","x":"${x}","y":"${y}"}`
  return createHash('sha256').update(members).digest('base64url')
}

export const ecKey = (namedCurve = 'P-256') => generateKeyPairSync('ec', { namedCurve }).privateKey
export const edKey = () => generateKeyPairSync('ed25519').privateKey
export const pem = (key: KeyObject) => key
  .export({ type: key.type === 'public' ? 'spki' : 'pkcs8', format: 'pem' })
  .toString()

/** The secret that `legacyToken` signs with, for JWT_LEGACY_SECRET. */
export const LEGACY_SECRET = 'the secret of the replaced system'

/**
 * A token in the form of the replaced system: the phone as it was typed, no session, issued yesterday, and good beyond
 * the clock of a test. `iat` is in seconds. A claim that is undefined is left out.
 */
export function legacyToken (
  phone: string,
  { iat = Math.floor(Date.now() / 1000) - 86_400, claims = {}, secret = LEGACY_SECRET }: {
    iat?: number
    claims?: Json
    secret?: string
  } = {}
): string {
  const exp = iat + 200 * 365 * 86_400
  const payload = { fresh: false, iat, jti: randomUUID(), type: 'access', sub: phone, nbf: iat, exp, ...claims }
  const { header, sign } = sharedSecret(secret)
  return compact(header, payload, sign)
}
