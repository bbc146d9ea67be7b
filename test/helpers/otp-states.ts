import type { Challenge, Sms } from '../../schemas/documents.js'
import { initial, next, type OtpState } from '../../services/login/otp.js'

const EPOCH = Date.parse('2026-05-04T10:00:00.000Z')

export function at (seconds: number): Date {
  return new Date(EPOCH + Math.round(seconds * 1000))
}

export function nonce (letter: string): Buffer {
  return Buffer.alloc(16, letter)
}

export function challenge (letter: string, issued: number, expires: number): Challenge {
  return { nonce: nonce(letter), issued_at: at(issued), expires_at: at(expires), tries: 0, used_at: null }
}

/** A state with this many SMS, all at 0 s. */
export function sent (count: number, state: Partial<OtpState>): OtpState {
  return { ...initial, sms: sms(...Array(count).fill(0)), ...state }
}

export function request (state: OtpState, now: number, letter: string) {
  return next(state, { type: 'request', nonce: nonce(letter), life: 300_000, network: `n${now}` }, at(now))
}

/** A wrong guess. */
export function guess (state: OtpState, now: number) {
  return next(state, { type: 'guess', matches: () => false }, at(now))
}

/** A guess of the code of this nonce. */
export function match (state: OtpState, letter: string, now: number) {
  return next(state, { type: 'guess', matches: other => other.equals(nonce(letter)) }, at(now))
}

/** One SMS at each of these seconds, each from a client network of its own. */
export function sms (...seconds: number[]): Sms[] {
  return seconds.map(second => ({ at: at(second), network: `n${second}` }))
}
