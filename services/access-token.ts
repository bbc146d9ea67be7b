import { createHash } from 'node:crypto'
import { normalizePhone } from './phone.js'

export const ISSUER = 'hookaba'
const CLOCK_SKEW_MS = 60_000
const HEADER_MEMBERS = new Set(['alg', 'typ', 'kid'])

/** What a token whose signature is good says of itself. */
export interface Claims {
  sid: string
  /** Of a token of the replaced system, which names no session: whose it is, and for how long. */
  legacy?: { phone: string, issuedAt: Date, expiresAt: Date }
}

type Json = Record<string, unknown>

/**
 * Whether a decoded token is one that this service issues, or (with `legacyRegion`) the one before it did, and is good `now`.
 * A library that checks claims only where they are there, and whatever their types, leaves this to us (RFC 8725 §3.8 to §3.11), and so it does with
 * texts that only decode to a token: another spelling of the signature (RFC 4648 §3.5) would make another session of an old token that was revoked,
 * and members that come twice (RFC 7519 §4) are read by every reader in a way of its own.
 */
export function readClaims (token: string, header: Json, payload: Json, now: Date, legacyRegion?: string): Claims | undefined {
  if (header.typ !== 'JWT' || !Object.keys(header).every(name => HEADER_MEMBERS.has(name))) return undefined
  const [, , signature = ''] = token.split('.')
  if (Buffer.from(signature, 'base64url').toString('base64url') !== signature) return undefined
  const { sub, iat, exp, nbf } = payload
  if (typeof sub !== 'string' || !isTime(iat) || !isTime(exp) || (nbf !== undefined && !isTime(nbf))) return undefined
  const latest = now.getTime() + CLOCK_SKEW_MS
  if (exp * 1000 <= now.getTime() || iat * 1000 > latest || (nbf ?? 0) * 1000 > latest) return undefined
  if (legacyRegion !== undefined && header.alg === 'HS256' && payload.type === 'access' && payload.iss === undefined) return legacy(token, sub, iat, exp, legacyRegion)
  const { iss, aud, sid } = payload
  const good = iss === ISSUER && aud === ISSUER && /^\+[1-9]\d{1,14}$/.test(sub) && typeof sid === 'string' && /^[0-9a-f]{24}$/.test(sid)
  return good && token.startsWith(`${encode(header)}.${encode(payload)}.`) ? { sid } : undefined
}

const encode = (part: Json) => Buffer.from(JSON.stringify(part)).toString('base64url')

function legacy (token: string, sub: string, iat: number, exp: number, region: string): Claims | undefined {
  const phone = normalizePhone(sub, region)
  if (phone === undefined) return undefined
  const sid = createHash('sha256').update(token).digest('hex').slice(0, 24)
  return { sid, legacy: { phone, issuedAt: new Date(iat * 1000), expiresAt: new Date(exp * 1000) } }
}

/** A NumericDate (RFC 7519 §2) that a Date can hold. */
const isTime = (value: unknown): value is number => typeof value === 'number' && Math.abs(value) <= 8.64e12
