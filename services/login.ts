import { randomBytes } from 'node:crypto'
import type { Collection } from 'mongodb'
import type { OtpDocument } from '../schemas/documents.js'
import { invalidField, isDuplicateKey, orFail, ServiceError, sentences, tooManyGuesses, tooManyTexts } from './errors.js'
import { initial, isOtpCode, next, otpCode, sameCode, type OtpEvent, type OtpOutcome, type OtpState } from './otp.js'
import { maskPhone, requirePhone } from './phone.js'
import { NumberRefused, type Clock, type SendSms, type Visitor } from './ports.js'
import { smsMessage, type Platform, type Wording } from './sms-message.js'

/** A race is lost only to somebody who won it; to lose this many in a row, something else must be wrong. */
const MOST_RACES = 100
const KEPT_MS = 48 * 3600 * 1000

export interface LoginOptions {
  otps: Collection<OtpDocument>
  sendSms: SendSms
  secret: string
  lifeSeconds: number
  region: string
  wording: Wording
  now: Clock
}

/** An event and whoever waits for its outcome. */
interface Waiting { event: OtpEvent, at: Date, resolve: (outcome: OtpOutcome) => void, reject: (error: unknown) => void }

export function createLogin ({ otps, sendSms, secret, lifeSeconds, region, wording, now }: LoginOptions) {
  const lines = new Map<string, Waiting[]>()
  return { requestOtp, verifyOtp }

  /** Sends the phone its code, or does nothing while a text is on its way. 400 a number that is none or that takes no texts, 429 budgets, 500 provider. */
  async function requestOtp (text: string, platform: Platform, visitor: Visitor, field = 'phone'): Promise<void> {
    const phone = requirePhone(text, region, field)
    const at = now()
    const outcome = await orFail('Failed to send OTP', true, apply(phone, { type: 'request', nonce: randomBytes(16), life: lifeSeconds * 1000 }, at))
    if (outcome.type === 'send') visitor.record('otp.requested', phone)
    else visitor.record(outcome.type === 'limited' ? 'otp.limited' : 'otp.quiet', phone)
    if (outcome.type === 'limited') throw tooManyTexts(outcome.retryAfter)
    if (outcome.type !== 'send') return

    const body = smsMessage(otpCode(secret, outcome.nonce, phone), platform, wording)
    try {
      await sendSms({ to: phone, body, reference: String(at.getTime()) })
      visitor.record('otp.sent', phone)
    } catch (cause) {
      await takeBack(phone, { type: 'unsent', sentAt: at, nonce: outcome.nonce, before: outcome.before, counted: cause instanceof NumberRefused }, visitor)
      if (cause instanceof NumberRefused) throw invalidField(field, sentences.phone)
      throw new ServiceError(500, 'Failed to send OTP', { cause, detailed: true })
    }
  }

  async function takeBack (phone: string, event: OtpEvent & { type: 'unsent' }, visitor: Visitor): Promise<void> {
    visitor.record(event.counted ? 'otp.refused' : 'otp.failed', phone)
    await apply(phone, event, now()).catch((err: unknown) => visitor.log.error({ event: 'otp.unrestored', phone: maskPhone(phone), err }))
  }

  /** The phone, when the code is right and this is the one request that used it; undefined for every wrong one alike. 400 no phone number, 429 while the phone waits. */
  async function verifyOtp (text: string, code: string, visitor: Visitor, field = 'phone'): Promise<string | undefined> {
    const phone = requirePhone(text, region, field)
    const guessedAt = now()
    const guess = await apply(phone, { type: 'guess', wellFormed: isOtpCode(code) }, guessedAt)
    const outcome = guess.type === 'compare' && sameCode(code, otpCode(secret, guess.nonce, phone))
      ? await apply(phone, { type: 'match', nonce: guess.nonce, guessedAt }, now())
      : guess
    visitor.record(outcome.type === 'accepted' ? 'otp.verified' : outcome.type === 'locked' ? 'otp.locked' : 'otp.rejected', phone)
    if (outcome.type === 'locked') throw tooManyGuesses(outcome.retryAfter)
    return outcome.type === 'accepted' ? phone : undefined
  }

  /**
   * Applies `event` to the phone's document. Events that arrive while one is under way wait and are applied together, by one read and
   * one write: a flood of guesses would else lose race after race against itself, and take every connection meanwhile.
   * What fails, fails for all that wait, so that a database that is gone keeps nobody waiting in line.
   */
  function apply (phone: string, event: OtpEvent, at: Date): Promise<OtpOutcome> {
    return new Promise((resolve, reject) => {
      const line = lines.get(phone)
      line?.push({ event, at, resolve, reject })
      if (line) return
      lines.set(phone, [{ event, at, resolve, reject }])
      serve(phone)
    })
  }

  async function serve (phone: string): Promise<void> {
    const line = lines.get(phone)!
    while (line.length > 0) {
      const batch = line.splice(0)
      try {
        const outcomes = await compareAndSet(phone, batch)
        batch.forEach(({ resolve }, i) => resolve(outcomes[i]!))
      } catch (error) {
        for (const { reject } of [...batch, ...line.splice(0)]) reject(error)
      }
    }
    lines.delete(phone)
  }

  /** Applies the events in their order, all anew each time another process was first. */
  async function compareAndSet (phone: string, batch: Waiting[]): Promise<OtpOutcome[]> {
    for (let race = 0; race < MOST_RACES; race++) {
      const stored = await otps.findOne({ _id: phone })
      const before: OtpState = stored ?? initial
      let state = before
      const outcomes = batch.map(({ event, at }) => {
        const result = next(state, event, at)
        state = result.state
        return result.outcome
      })
      if (state === before || await write(phone, stored?.version ?? 0, state, batch.at(-1)!.at)) return outcomes
    }
    throw new Error('the document of a phone changed at every attempt')
  }

  async function write (phone: string, version: number, state: OtpState, at: Date): Promise<boolean> {
    const { challenge, sends, failures, locked_until: lockedUntil } = state
    const document: OtpDocument = { _id: phone, version: version + 1, challenge, sends, failures, locked_until: lockedUntil, purge_at: new Date(at.getTime() + KEPT_MS) }
    if (version > 0) return (await otps.replaceOne({ _id: phone, version }, document)).matchedCount === 1
    try {
      await otps.insertOne(document)
      return true
    } catch (error) {
      if (isDuplicateKey(error)) return false
      throw error
    }
  }
}
