import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Challenge, OtpDocument } from '../schemas/documents.js'

const SECOND = 1000
const MINUTE = 60 * SECOND
const DAY = 24 * 60 * MINUTE

/** Guesses that one code allows. */
export const MAX_TRIES = 5
const GAPS = [15, 30, 60, 120, 300].map(seconds => seconds * SECOND)
const WINDOW = 10 * MINUTE
const TEXTS_PER_WINDOW = 5
const TEXTS_PER_DAY = 10
const REPEATABLE = 9 * MINUTE
const LONGEST_LIFE = 10 * MINUTE
const FAILURES_BEFORE_WAIT = 10
const LONGEST_WAIT = 900 * SECOND
const FAILURES_PER_DAY = 50

export type OtpState = Omit<OtpDocument, '_id' | 'version' | 'purge_at'>

/** Why no text may be sent now, whatever the phone's own budgets say, and for how many seconds. */
export interface Stop { reason: string, retryAfter: number }

interface RequestEvent {
  type: 'request'
  nonce: Buffer
  /** Milliseconds. */
  life: number
  /** Where it is asked for, as a keyed digest. */
  origin?: string
  stop?: Stop
  /** Nothing is sent: no gap, no budget. */
  textless?: boolean
}

export type OtpEvent =
  | RequestEvent
  | { type: 'unsent', sentAt: Date, nonce: Buffer, before: Challenge | null, counted: boolean }
  | { type: 'guess', wellFormed: boolean }
  | { type: 'match', nonce: Buffer, guessedAt: Date }
  | { type: 'undelivered', sentAt?: Date }

export type OtpOutcome =
  | { type: 'send', nonce: Buffer, before: Challenge | null }
  | { type: 'quiet' }
  | { type: 'limited' } & Stop
  | { type: 'restored' }
  | { type: 'compare', nonce: Buffer }
  /** `used`: the nonce of the used code that the guess came upon, so that a replay can be told from a wrong guess. */
  | { type: 'rejected', used?: Buffer }
  | { type: 'locked', retryAfter: number }
  | { type: 'accepted', origin: string | undefined }
  | { type: 'freed' }
  | { type: 'unchanged' }

export const initial: OtpState = { challenge: null, sends: [], failures: { row: 0, dates: [] }, locked_until: null }

const since = (dates: Date[], start: number) => dates.filter(date => date.getTime() > start)
const sorted = (dates: Date[]) => dates.toSorted((a, b) => a.getTime() - b.getTime())
const seconds = (ms: number) => Math.max(1, Math.ceil(ms / SECOND))
const live = (challenge: Challenge | null, now: number): challenge is Challenge =>
  challenge !== null && challenge.used_at === null && challenge.tries < MAX_TRIES && now < challenge.expires_at.getTime()

/**
 * The login's rules for one phone: what `event` at `now` makes of `state`, and what is to be done about it.
 * Pure. A state that is returned unchanged (the same object) needs no write.
 */
export function next (state: OtpState, event: OtpEvent, now: Date): { state: OtpState, outcome: OtpOutcome } {
  switch (event.type) {
    case 'request': return request(state, event, now.getTime())
    case 'unsent': return unsent(state, event)
    case 'guess': return guess(state, event, now.getTime())
    case 'match': return match(state, event, now)
    case 'undelivered': return undelivered(state, event)
  }
}

function request (state: OtpState, event: RequestEvent, now: number): ReturnType<typeof next> {
  const { challenge } = state
  const sending = renewed(challenge, event, now)
  const outcome: OtpOutcome = { type: 'send', nonce: sending.nonce, before: challenge }
  if (event.textless) return { state: { ...state, challenge: sending }, outcome }

  const sends = since(state.sends, now - DAY)
  const recent = since(sends, now - WINDOW)
  const last = recent.at(-1)
  const lost = state.undelivered_at?.getTime()
  if (last && last.getTime() !== lost && live(challenge, now) && now < last.getTime() + gapAfter(recent.length)) return { state, outcome: { type: 'quiet' } }
  const wait = Math.max(untilBelow(recent, TEXTS_PER_WINDOW, WINDOW, now), untilBelow(sends, TEXTS_PER_DAY, DAY, now))
  if (wait > 0) return { state, outcome: { type: 'limited', reason: 'phone', retryAfter: seconds(wait) } }
  if (event.stop) return { state, outcome: { type: 'limited', ...event.stop } }

  return { state: { ...state, challenge: sending, sends: [...sends, new Date(now)], ...(lost === now && { undelivered_at: null }) }, outcome }
}

/** What the next text holds: the live code once more, while its first text is not too old; else a new one. */
function renewed (challenge: Challenge | null, { nonce, life, origin }: RequestEvent, now: number): Challenge {
  const asked = origin === undefined ? {} : { origin }
  if (live(challenge, now) && now - challenge.issued_at.getTime() <= REPEATABLE) {
    return { ...challenge, ...asked, expires_at: new Date(Math.min(now + life, challenge.issued_at.getTime() + LONGEST_LIFE)) }
  }
  const replaces = challenge?.used_at === null ? { replaces: challenge.nonce } : {}
  return { nonce, issued_at: new Date(now), expires_at: new Date(now + life), tries: 0, used_at: null, ...asked, ...replaces }
}

const gapAfter = (texts: number) => GAPS[Math.min(texts, GAPS.length) - 1] ?? 0

/** Milliseconds until fewer than `most` of `dates` lie within `window`; 0 when that is so now. */
function untilBelow (dates: Date[], most: number, window: number, now: number): number {
  const oldest = sorted(dates).at(-most)
  return oldest ? oldest.getTime() + window - now : 0
}

/**
 * A text that was not sent leaves the earlier challenge as it was, but for the guesses that were spent on it meanwhile;
 * a challenge that a later text repeats or replaced stays.
 */
function unsent (state: OtpState, { sentAt, nonce, before, counted }: OtpEvent & { type: 'unsent' }): ReturnType<typeof next> {
  const { challenge } = state
  const index = state.sends.findLastIndex(date => date.getTime() === sentAt.getTime())
  const sends = counted ? state.sends : state.sends.filter((_, i) => i !== index)
  const sentLater = index < state.sends.length - 1
  if (sentLater || !challenge?.nonce.equals(nonce) || challenge.used_at !== null) return { state: { ...state, sends }, outcome: { type: 'restored' } }
  const restored = before?.nonce.equals(nonce) ? { ...before, tries: challenge.tries } : before
  return { state: { ...state, challenge: restored, sends }, outcome: { type: 'restored' } }
}

function guess (state: OtpState, { wellFormed }: OtpEvent & { type: 'guess' }, now: number): ReturnType<typeof next> {
  const { challenge, locked_until: lockedUntil } = state
  if (lockedUntil && now < lockedUntil.getTime()) return { state, outcome: { type: 'locked', retryAfter: seconds(lockedUntil.getTime() - now) } }
  if (!wellFormed || !live(challenge, now)) {
    const used = wellFormed && challenge?.used_at ? { used: challenge.nonce } : {}
    return { state, outcome: { type: 'rejected', ...used } }
  }

  const failures = { row: state.failures.row + 1, dates: [...since(state.failures.dates, now - DAY), new Date(now)] }
  return {
    state: { ...state, challenge: { ...challenge, tries: challenge.tries + 1 }, failures, locked_until: waitAfter(failures, now) },
    outcome: { type: 'compare', nonce: challenge.nonce }
  }
}

function waitAfter ({ row, dates }: OtpState['failures'], now: number): Date | null {
  const growing = row >= FAILURES_BEFORE_WAIT ? Math.min(2 ** (row - FAILURES_BEFORE_WAIT) * SECOND, LONGEST_WAIT) : 0
  const wait = Math.max(growing, untilBelow(dates, FAILURES_PER_DAY, DAY, now))
  return wait > 0 ? new Date(now + wait) : null
}

/**
 * A right guess was counted as a failure before it was compared: that is taken back, and the first of them uses the code up.
 * A code that was replaced in between is as good as the one in its place, and uses that up too.
 */
function match (state: OtpState, { nonce, guessedAt }: OtpEvent & { type: 'match' }, now: Date): ReturnType<typeof next> {
  const { challenge, failures } = state
  const index = failures.dates.findIndex(date => date.getTime() === guessedAt.getTime())
  const dates = failures.dates.filter((_, i) => i !== index)
  if (challenge === null || challenge.used_at !== null || !(challenge.nonce.equals(nonce) || challenge.replaces?.equals(nonce))) {
    return { state: { ...state, failures: { ...failures, dates } }, outcome: { type: 'rejected' } }
  }
  const succeeded = { row: 0, dates }
  return {
    state: { ...state, challenge: { ...challenge, used_at: now }, failures: succeeded, locked_until: waitAfter(succeeded, now.getTime()) },
    outcome: { type: 'accepted', origin: challenge.origin }
  }
}

/** The last text, or the one sent at `sentAt` where that is the last, never arrived: the next request meets no gap. Budgets still count it. */
function undelivered (state: OtpState, { sentAt }: OtpEvent & { type: 'undelivered' }): ReturnType<typeof next> {
  const last = state.sends.at(-1)
  const isLast = last !== undefined && (sentAt === undefined || sentAt.getTime() === last.getTime())
  if (!isLast || last.getTime() === state.undelivered_at?.getTime()) return { state, outcome: { type: 'unchanged' } }
  return { state: { ...state, undelivered_at: last }, outcome: { type: 'freed' } }
}

/** The code of a challenge: HOTP truncation (RFC 4226 §5.3) of HMAC-SHA-256(secret, nonce ‖ phone), 6 digits. Nothing stored reveals it. */
export function otpCode (secret: string, nonce: Buffer, phone: string): string {
  const mac = createHmac('sha256', secret).update(nonce).update(phone).digest()
  const truncated = mac.readUInt32BE(mac[mac.length - 1]! & 0xf) & 0x7fffffff
  return String(truncated % 1_000_000).padStart(6, '0')
}

export const isOtpCode = (text: string) => /^[0-9]{6}$/.test(text)

/** Whether two codes are the same, in constant time. Both must be well-formed. */
export const sameCode = (a: string, b: string) => timingSafeEqual(Buffer.from(a), Buffer.from(b))
