import { randomBytes } from 'node:crypto'
import type { Collection } from 'mongodb'
import type { OtpDocument } from '../schemas/documents.js'
import type { AddressLimit } from './address-limits.js'
import { invalidField, orFail, ServiceError, sentences, tooManyGuesses, tooManyTexts } from './errors.js'
import { createOtpStates } from './otp-states.js'
import { isOtpCode, otpCode, sameCode, type OtpEvent, type OtpOutcome, type Stop } from './otp.js'
import { maskPhone, normalizePhone, parsePhone, requirePhone, type Phone } from './phone.js'
import { NumberRefused, type Clock, type SendSms, type Visitor } from './ports.js'
import { numberChangedMessage, smsMessage, type Platform, type Wording } from './sms-message.js'
import type { TextGuard } from './text-guard.js'

export interface LoginOptions {
  otps: Collection<OtpDocument>
  sendSms: SendSms
  guard: TextGuard
  /** Failed verifies for each client address. */
  failures: AddressLimit
  /** Whether a text may go to this number at all. */
  takesTexts: (phone: Phone) => boolean
  isBlocked: (phone: string) => Promise<boolean>
  /** The fixed code of a test number; undefined for every other. */
  testCode: (phone: string) => string | undefined
  secret: string
  lifeSeconds: number
  region: string
  wording: Wording
  now: Clock
}

const LONGEST_ERROR_CODE = 10
const NO_NONCE = Buffer.alloc(16)

type Sending = Extract<OtpOutcome, { type: 'send' }>

export function createLogin ({ otps, sendSms, guard, failures, takesTexts, isBlocked, testCode, secret, lifeSeconds, region, wording, now }: LoginOptions) {
  const apply = createOtpStates(otps)
  return { requestOtp, verifyOtp, notifyOfMove, undelivered }

  /**
   * Sends the phone its code, or does nothing while a text is on its way; nor does it for a blocked phone or a test number.
   * 400 in the name of `field` for a number that is none or that takes no texts, 429 budgets, caps and guard, 500 provider.
   */
  async function requestOtp (text: string, platform: Platform, visitor: Visitor, field = 'phone'): Promise<void> {
    const parsed = requirePhone(text, region, field)
    const phone = parsed.e164
    const isTest = testCode(phone) !== undefined
    if (!isTest && !takesTexts(parsed)) throw invalidField(field, sentences.phone)
    const at = now()
    const asked = { type: 'request', nonce: randomBytes(16), life: lifeSeconds * 1000 } as const
    const { blocked, outcome } = await orFail('Failed to send OTP', true, isTest ? openTest() : open())
    if (outcome.type === 'limited') throw limited(phone, outcome, visitor)
    if (outcome.type !== 'send') visitor.record('otp.quiet', phone)
    else if (isTest) visitor.record('otp.requested', phone, { reason: 'test number' })
    else if (blocked) visitor.record('otp.requested', phone, { reason: 'blocked' })
    else await send(phone, platform, at, outcome, visitor, field)

    async function open () {
      const [blocked, stop] = await Promise.all([isBlocked(phone), guard.stopOf(phone, visitor)])
      return { blocked, outcome: await apply(phone, { ...asked, origin: guard.originOf(visitor.address), stop }, at) }
    }

    async function openTest () {
      return { blocked: false, outcome: await apply(phone, { ...asked, textless: true }, at) }
    }
  }

  async function send (phone: string, platform: Platform, sentAt: Date, { nonce, before }: Sending, visitor: Visitor, field: string): Promise<void> {
    visitor.record('otp.requested', phone)
    const takeBack = (counted: boolean) => restore(phone, { type: 'unsent', sentAt, nonce, before, counted }, visitor)
    const taken = await guard.take(phone, visitor).catch(async (cause: unknown) => {
      await takeBack(false)
      throw new ServiceError(500, 'Failed to send OTP', { cause, detailed: true })
    })
    if (typeof taken !== 'function') {
      await takeBack(false)
      throw limited(phone, taken, visitor)
    }
    try {
      await sendSms({ to: phone, body: smsMessage(otpCode(secret, nonce, phone), platform, wording), reference: String(sentAt.getTime()) })
      visitor.record('otp.sent', phone)
    } catch (cause) {
      const refused = cause instanceof NumberRefused
      visitor.record(refused ? 'otp.refused' : 'otp.failed', phone)
      await Promise.all([takeBack(refused), refused || taken()])
      if (refused) throw invalidField(field, sentences.phone)
      throw new ServiceError(500, 'Failed to send OTP', { cause, detailed: true })
    }
  }

  /** What stops every phone alike is written down without one, or a flood of numbers would be a flood of rows. */
  function limited (phone: string, { reason, retryAfter }: Stop, visitor: Visitor): ServiceError {
    visitor.record('otp.limited', reason === 'phone' ? phone : null, { reason })
    return tooManyTexts(retryAfter)
  }

  async function restore (phone: string, event: OtpEvent & { type: 'unsent' }, visitor: Visitor): Promise<void> {
    await apply(phone, event, now()).catch((err: unknown) => visitor.log.error({ event: 'otp.unrestored', phone: maskPhone(phone), err }))
  }

  /**
   * The phone, when the code is right and this is the one request that used it; undefined for every wrong one alike, and for a blocked phone.
   * 400 in the name of `field` no phone number, 429 while the phone waits or the client address had too many failures.
   */
  async function verifyOtp (text: string, code: string, visitor: Visitor, field = 'phone'): Promise<string | undefined> {
    const phone = requirePhone(text, region, field).e164
    const details: Record<string, string> = testCode(phone) === undefined ? {} : { reason: 'test number' }
    const giveBack = failures.take(visitor.address)
    if (typeof giveBack === 'number') {
      visitor.record('otp.locked', null, { reason: 'address' })
      throw tooManyGuesses(giveBack)
    }
    const { outcome, wrong } = await judge(phone, code).catch((error: unknown) => {
      giveBack()
      throw error
    })
    if (!wrong) giveBack()
    visitor.record(outcome.type === 'accepted' ? 'otp.verified' : outcome.type === 'locked' ? 'otp.locked' : 'otp.rejected', phone, details)
    if (outcome.type === 'locked') throw tooManyGuesses(outcome.retryAfter)
    if (outcome.type !== 'accepted') return undefined
    if (testCode(phone) === undefined) await guard.verified(phone, outcome.origin, visitor)
    return phone
  }

  /** Whatever the guess comes upon, there is one comparison, so that its time tells nothing. `wrong`: not the phone's code, nor one just used, as when an app submits twice. */
  async function judge (phone: string, code: string): Promise<{ outcome: OtpOutcome, wrong: boolean }> {
    const guessedAt = now()
    const wellFormed = isOtpCode(code)
    const [guess, blocked] = await Promise.all([apply(phone, { type: 'guess', wellFormed }, guessedAt), isBlocked(phone)])
    if (guess.type !== 'compare' && guess.type !== 'rejected') return { outcome: guess, wrong: false }
    const nonce = guess.type === 'compare' ? guess.nonce : guess.used
    const same = wellFormed && sameCode(code, testCode(phone) ?? otpCode(secret, nonce ?? NO_NONCE, phone)) && nonce !== undefined
    if (guess.type === 'rejected') return { outcome: guess, wrong: !same }
    if (!same || blocked) return { outcome: guess, wrong: true }
    return { outcome: await apply(phone, { type: 'match', nonce: guess.nonce, guessedAt }, now()), wrong: false }
  }

  /**
   * Tells a number that its account has another one from now on: outside the phone's own budget, which whoever changed it may
   * have used up, but within the caps of the service. Never rejects: the change stands whether or not this works.
   */
  async function notifyOfMove (phone: string, visitor: Visitor): Promise<void> {
    const parsed = parsePhone(phone, region)
    if (parsed === undefined || testCode(phone) !== undefined || !takesTexts(parsed)) return
    try {
      const taken = await guard.takeUnasked(visitor)
      if (typeof taken !== 'function') throw tooManyTexts(taken.retryAfter)
      await sendSms({ to: phone, body: numberChangedMessage(wording), reference: String(now().getTime()) }).catch(async (error: unknown) => {
        await taken()
        throw error
      })
      visitor.record('notice.sent', phone)
    } catch (err) {
      visitor.log.error({ event: 'notice.failed', phone: maskPhone(phone), err }, 'The old number could not be told that its account has another number now')
    }
  }

  /** The provider reports that the text with this `reference`, else the last one, never arrived: the next request of that phone meets no gap. */
  async function undelivered (to: string, reference: string | undefined, errorCode: string, visitor: Visitor): Promise<void> {
    const phone = normalizePhone(to.replace(/^whatsapp:/, ''), region)
    if (phone === undefined) return
    const { type } = await apply(phone, { type: 'undelivered', ...(reference !== undefined && { sentAt: new Date(Number(reference)) }) }, now())
    visitor.record('otp.undelivered', phone, { error_code: errorCode.slice(0, LONGEST_ERROR_CODE), ...(type !== 'freed' && { reason: 'late' }) })
  }
}
