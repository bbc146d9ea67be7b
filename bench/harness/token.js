import { createHmac } from 'node:crypto'

const YEAR_SECONDS = 365 * 86_400
const encode = value => Buffer.from(JSON.stringify(value)).toString('base64url')

/** An access token of a contender, as Flask-JWT-Extended reads it: HS256, valid for a year (RFC 7519). */
export function signToken (secret, sub) {
  const iat = Math.floor(Date.now() / 1000)
  const claims = { sub, iat, exp: iat + YEAR_SECONDS, jti: `${sub}-${iat}`, type: 'access', fresh: false }
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}
