import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Challenge, OtpDocument, Sms } from '../../schemas/documents.js'
import { toAsciiDigits } from '../digits.js'

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const DAY_MS = 24 * 60 * MINUTE_MS

/** Guesses that one code allows. */
export const MAX_TRIES = 5
const GAPS_MS = [15, 30, 60, 120, 300].map(seconds => seconds * SECOND_MS)
const WINDOW_MS = 10 * MINUTE_MS
const MAX_PER_WINDOW = 5
const MAX_PER_DAY = 10
/** The part of these for one client network, so that a stranger cannot use up the owner's budget. */
const MAX_PER_WINDOW_OF_NETWORK = 3
const MAX_PER_DAY_OF_NETWORK = 5
const MAX_REPEAT_MS = 9 * MINUTE_MS
const MAX_LIFE_MS = 10 * MINUTE_MS
const MAX_FAILURES_WITHOUT_WAIT = 10
const MAX_WAIT_MS = 900 * SECOND_MS
const MAX_FAILURES_PER_DAY = 50

export type OtpState = Omit<OtpDocument, '_id' | 'write_id' | 'expires_at'>

/** A reason not to send an SMS now, besides the phone's own budgets, and the seconds to wait. */
export interface Stop { reason: string, retryAfter: number }

interface RequestEvent {
  type: 'request'
  nonce: Buffer
  /** Milliseconds. */
  life: number
  /** The client network that asks, as a keyed hash. */
  network: string
  /** The other counters of the SMS. */
  counted?: Challenge['counted']
  stop?: Stop
  /** No SMS is sent: no gap, no budget. */
  silent?: boolean
}

export type OtpEvent =
  | RequestEvent
  | { type: 'unsent', sentAt: Date, network: string, nonce: Buffer, before: Challenge | null, counted: boolean }
  /** `matches`: whether the guess is the code of a nonce; undefined unless the guess has six digits. */
  | { type: 'guess', matches: ((nonce: Buffer) => boolean) | undefined }
  | { type: 'undelivered', sentAt?: Date }

export type OtpOutcome =
  | { type: 'send', nonce: Buffer, before: Challenge | null }
  | { type: 'quiet' }
  | { type: 'limited' } & Stop
  | { type: 'restored' }
  /** `replay`: the guess is the code that was just used. */
  | { type: 'rejected', replay: boolean }
  | { type: 'locked', retryAfter: number }
  | { type: 'accepted', counted: Challenge['counted'] }
  | { type: 'freed' }
  | { type: 'unchanged' }

export const initial: OtpState = { challenge: null, sms: [], failures: { row: 0, dates: [] }, locked_until: null }

const since = <T>(list: T[], dateOf: (item: T) => Date, start: number) =>
  list.filter(item => dateOf(item).getTime() > start)
const sentAt = ({ at }: Sms) => at
const itself = (date: Date) => date
const sorted = (dates: Date[]) => dates.toSorted((a, b) => a.getTime() - b.getTime())
const seconds = (ms: number) => Math.max(1, Math.ceil(ms / SECOND_MS))
const live = (challenge: Challenge | null, now: number): challenge is Challenge =>
  challenge !== null &&
    challenge.used_at === null &&
    challenge.tries < MAX_TRIES &&
    now < challenge.expires_at.getTime()

/**
 * The login's rules for one phone: the new state and the outcome of `event` at `now`. Pure. A state that is returned
 * unchanged (the same object) needs no write.
 */
export function next (state: OtpState, event: OtpEvent, now: Date): { state: OtpState, outcome: OtpOutcome } {
  switch (event.type) {
    case 'request': return request(state, event, now.getTime())
    case 'unsent': return unsent(state, event)
    case 'guess': return guess(state, event, now)
    case 'undelivered': return undelivered(state, event)
  }
}

/** Checks the gap first, then the phone's own budgets, then other stops. */
function request (state: OtpState, event: RequestEvent, now: number): ReturnType<typeof next> {
  const { challenge } = state
  const sending = renewed(challenge, event, now)
  const outcome: OtpOutcome = { type: 'send', nonce: sending.nonce, before: challenge }
  if (event.silent) return { state: { ...state, challenge: sending }, outcome }

  const day = since(state.sms, sentAt, now - DAY_MS)
  const recent = since(day, sentAt, now - WINDOW_MS)
  const last = recent.at(-1)?.at.getTime()
  const lost = state.undelivered_at?.getTime()
  if (last !== undefined && last !== lost && live(challenge, now) && now < last + gapAfter(recent.length)) {
    return { state, outcome: { type: 'quiet' } }
  }
  const wait = untilAllowed(recent, day, event.network, now)
  if (wait > 0) return { state, outcome: { type: 'limited', reason: 'phone', retryAfter: seconds(wait) } }
  if (event.stop) return { state, outcome: { type: 'limited', ...event.stop } }

  const sms = [...day, { at: new Date(now), network: event.network }]
  return { state: { ...state, challenge: sending, sms, ...(lost === now && { undelivered_at: null }) }, outcome }
}

/** The next SMS repeats the live code while its first SMS is recent enough; else it has a new code. */
function renewed (challenge: Challenge | null, { nonce, life, counted }: RequestEvent, now: number): Challenge {
  const { counted: _, ...current } = challenge ?? {}
  const where = counted && { counted }
  if (live(challenge, now) && now - challenge.issued_at.getTime() <= MAX_REPEAT_MS) {
    return {
      ...current as Challenge,
      ...where,
      expires_at: new Date(Math.min(now + life, challenge.issued_at.getTime() + MAX_LIFE_MS))
    }
  }
  return { nonce, issued_at: new Date(now), expires_at: new Date(now + life), tries: 0, used_at: null, ...where }
}

const gapAfter = (count: number) => GAPS_MS[Math.min(count, GAPS_MS.length) - 1] ?? 0

/** Milliseconds until the budgets of the phone and of the client network allow an SMS; 0: now. */
function untilAllowed (recent: Sms[], day: Sms[], network: string, now: number): number {
  const own = (list: Sms[]) => list.filter(sms => sms.network === network)
  return Math.max(
    untilBelow(recent.map(sentAt), MAX_PER_WINDOW, WINDOW_MS, now),
    untilBelow(day.map(sentAt), MAX_PER_DAY, DAY_MS, now),
    untilBelow(own(recent).map(sentAt), MAX_PER_WINDOW_OF_NETWORK, WINDOW_MS, now),
    untilBelow(own(day).map(sentAt), MAX_PER_DAY_OF_NETWORK, DAY_MS, now)
  )
}

/** Milliseconds until fewer than `max` of `dates` lie within `window`; 0 when that is so now. */
function untilBelow (dates: Date[], max: number, window: number, now: number): number {
  const oldest = sorted(dates).at(-max)
  return oldest ? oldest.getTime() + window - now : 0
}

/**
 * Restores the earlier challenge, as an SMS was not sent, but counts the guesses spent meanwhile. A challenge that was
 * used, or that a later SMS repeats or replaced, stays.
 */
function unsent (
  state: OtpState,
  { sentAt: time, network, nonce, before, counted }: OtpEvent & { type: 'unsent' }
): ReturnType<typeof next> {
  const { challenge } = state
  const index = state.sms.findLastIndex(sms => sms.at.getTime() === time.getTime() && sms.network === network)
  const sms = counted ? state.sms : state.sms.filter((_, i) => i !== index)
  const sentLater = index < state.sms.length - 1
  if (sentLater || !challenge?.nonce.equals(nonce) || challenge.used_at !== null) {
    return { state: { ...state, sms }, outcome: { type: 'restored' } }
  }
  const restored = before?.nonce.equals(nonce) ? { ...before, tries: challenge.tries } : before
  return { state: { ...state, challenge: restored, sms }, outcome: { type: 'restored' } }
}

/** Counts only a guess at a live code. A right one uses the code up, and ends the row of failures. */
function guess (state: OtpState, { matches }: OtpEvent & { type: 'guess' }, now: Date): ReturnType<typeof next> {
  const { challenge, failures, locked_until: lockedUntil } = state
  const wait = (lockedUntil?.getTime() ?? 0) - now.getTime()
  if (wait > 0) return { state, outcome: { type: 'locked', retryAfter: seconds(wait) } }
  if (!matches || challenge === null) return { state, outcome: { type: 'rejected', replay: false } }
  const { nonce, used_at: usedAt } = challenge
  if (!live(challenge, now.getTime())) {
    return { state, outcome: { type: 'rejected', replay: matches(nonce) && usedAt !== null } }
  }

  const dates = since(failures.dates, itself, now.getTime() - DAY_MS)
  if (matches(nonce)) {
    const succeeded = { row: 0, dates }
    return {
      state: {
        ...state,
        challenge: { ...challenge, tries: challenge.tries + 1, used_at: now },
        failures: succeeded,
        locked_until: waitAfter(succeeded, now.getTime())
      },
      outcome: { type: 'accepted', counted: challenge.counted }
    }
  }
  const failed = { row: failures.row + 1, dates: [...dates, now] }
  return {
    state: {
      ...state,
      challenge: { ...challenge, tries: challenge.tries + 1 },
      failures: failed,
      locked_until: waitAfter(failed, now.getTime())
    },
    outcome: { type: 'rejected', replay: false }
  }
}

function waitAfter ({ row, dates }: OtpState['failures'], now: number): Date | null {
  const tooMany = row - MAX_FAILURES_WITHOUT_WAIT
  const growing = tooMany >= 0 ? Math.min(2 ** tooMany * SECOND_MS, MAX_WAIT_MS) : 0
  const wait = Math.max(growing, untilBelow(dates, MAX_FAILURES_PER_DAY, DAY_MS, now))
  return wait > 0 ? new Date(now + wait) : null
}

/**
 * Marks the last SMS, or the one of `sentAt` if that is the last, as lost: the next request meets no gap. Budgets still
 * count it.
 */
function undelivered (
  state: OtpState,
  { sentAt: time }: OtpEvent & { type: 'undelivered' }
): ReturnType<typeof next> {
  const last = state.sms.at(-1)?.at
  const isLast = last !== undefined && (time === undefined || time.getTime() === last.getTime())
  if (!isLast || last.getTime() === state.undelivered_at?.getTime()) return { state, outcome: { type: 'unchanged' } }
  return { state: { ...state, undelivered_at: last }, outcome: { type: 'freed' } }
}

/**
 * The code of a challenge: HOTP truncation (RFC 4226 §5.3) of HMAC-SHA-256(secret, nonce ‖ phone), 6 digits. Nothing
 * stored reveals it.
 */
export function otpCode (secret: string, nonce: Buffer, phone: string): string {
  const mac = createHmac('sha256', secret).update(nonce).update(phone).digest()
  const truncated = mac.readUInt32BE(mac[mac.length - 1]! & 0xf) & 0x7fffffff
  return String(truncated % 1_000_000).padStart(6, '0')
}

/** Six digits of any script, in ASCII; undefined for every other text. */
export function readCode (text: string): string | undefined {
  return /^\p{Nd}{6}$/u.test(text) ? toAsciiDigits(text) : undefined
}

/** Whether two codes are the same, in constant time. Both must be well-formed. */
export const sameCode = (a: string, b: string) => timingSafeEqual(Buffer.from(a), Buffer.from(b))
