import { createHash } from 'node:crypto'
import { normalizePhone } from '../phone.js'

export const ISSUER = 'hookaba'
const CLOCK_SKEW_MS = 60_000
const HEADER_MEMBERS = new Set(['alg', 'typ', 'kid'])

/** The account and the session of a token of this service. */
export interface TokenClaims {
  account: string
  sid: string
  expiresAt: Date
}

/** The claims of a token of the replaced system. It names no account or session; `sid` comes from a hash of it. */
export interface LegacyTokenClaims {
  sid: string
  phone: string
  issuedAt: Date
  expiresAt: Date
}

type Json = Record<string, unknown>

/**
 * The claims of a decoded token that this service issued, if good `now`. A library checks only claims that are there,
 * of any type, so these checks are ours (RFC 8725 §3.8 to §3.11). They also reject texts that only decode to a token,
 * and repeated members (RFC 7519 §4), which each reader reads differently.
 */
export function readClaims (token: string, header: Json, payload: Json, now: Date): TokenClaims | undefined {
  if (!isGood(token, header, payload, now)) return undefined
  const { iss, aud, sub, sid, exp } = payload
  const names = iss === ISSUER && aud === ISSUER && isId(sub) && isId(sid)
  if (!names || !token.startsWith(`${encode(header)}.${encode(payload)}.`)) return undefined
  return { account: sub, sid, expiresAt: new Date(exp as number * 1000) }
}

/**
 * The claims of a decoded token that the replaced system issued, if good `now`. Another spelling of the signature (RFC
 * 4648 §3.5) makes no other session.
 */
export function readLegacyClaims (
  token: string,
  header: Json,
  payload: Json,
  now: Date,
  region: string
): LegacyTokenClaims | undefined {
  if (!isGood(token, header, payload, now) || payload.type !== 'access' || payload.iss !== undefined) return undefined
  const { sub, iat, exp } = payload as { sub: string, iat: number, exp: number }
  const phone = normalizePhone(sub, region)
  if (phone === undefined || iat <= 0) return undefined
  const signed = token.slice(0, token.lastIndexOf('.'))
  const sid = createHash('sha256').update(signed).digest('hex').slice(0, 24)
  return { sid, phone, issuedAt: new Date(iat * 1000), expiresAt: new Date(exp * 1000) }
}

function isGood (token: string, header: Json, { sub, iat, exp, nbf }: Json, now: Date): boolean {
  if (header.typ !== 'JWT' || !Object.keys(header).every(name => HEADER_MEMBERS.has(name))) return false
  const [, , signature = ''] = token.split('.')
  if (Buffer.from(signature, 'base64url').toString('base64url') !== signature) return false
  if (typeof sub !== 'string' || !isTime(iat) || !isTime(exp) || (nbf !== undefined && !isTime(nbf))) return false
  const latest = now.getTime() + CLOCK_SKEW_MS
  return exp * 1000 > now.getTime() && iat * 1000 <= latest && (nbf ?? 0) * 1000 <= latest
}

const encode = (part: Json) => Buffer.from(JSON.stringify(part)).toString('base64url')
const isId = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{24}$/.test(value)

/** A NumericDate (RFC 7519 §2) that a Date can hold. */
const isTime = (value: unknown): value is number => typeof value === 'number' && Math.abs(value) <= 8.64e12
