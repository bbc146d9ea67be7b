import { randomBytes } from 'node:crypto'
import type { Platform } from '../../schemas/auth.js'
import { clientOf } from '../client-network.js'
import { invalidField, wrapFailure, ServiceError, sentences, tooManyGuesses, tooManySms } from '../errors.js'
import { keyedHash } from '../keyed-hash.js'
import { maskPhone, normalizePhone, parsePhone, type Phone } from '../phone.js'
import {
  NumberRefused,
  SmsUnconfirmed,
  type Clock,
  type AccountStateOf,
  type SendSms,
  type Subject,
  type RequestContext
} from '../ports.js'
import { numberChangedMessage, smsMessage, type Wording } from '../sms/message.js'
import type { AddressLimit, Take } from './address-limits.js'
import type { CounterWrite } from './hour-counts.js'
import {
  createOtpStore,
  type Applied,
  type Change,
  type Counters,
  type Decision,
  type OtpCollection,
  type Written
} from './otp-store.js'
import { next, otpCode, readCode, sameCode, type OtpEvent, type OtpOutcome, type OtpState, type Stop } from './otp.js'
import { SERVICE } from './sms-caps.js'
import type { SmsGuard } from './sms-guard.js'

export interface LoginOptions {
  otps: OtpCollection
  sendSms: SendSms
  guard: SmsGuard
  /** SMS for each client address. */
  addresses: AddressLimit
  /** Failed verifies for each client address. */
  failures: AddressLimit
  /** Whether an SMS may go to this number at all. */
  takesSms: (phone: Phone) => boolean
  accountStateOf: AccountStateOf
  /** The fixed code of a test number; undefined for every other. */
  testCode: (phone: string) => string | undefined
  secret: string
  lifeSeconds: number
  region: string
  wording: Wording
  now: Clock
}

const MAX_ERROR_CODE = 10
const NO_NONCE = Buffer.alloc(16)

type Account = Awaited<ReturnType<AccountStateOf>>

/** An SMS that is counted, and about to be sent. */
interface Sending {
  phone: string
  platform: Platform
  /** The field that a refusal names. */
  field: string
  subject: Subject
  sentAt: Date
  network: string
  nonce: Buffer
  before: OtpState['challenge']
  written: Written
  writes: CounterWrite[]
  giveBack: () => void
}

export function createLogin ({
  otps,
  sendSms,
  guard,
  addresses,
  failures,
  takesSms,
  accountStateOf,
  testCode,
  secret,
  lifeSeconds,
  region,
  wording,
  now
}: LoginOptions) {
  const store = createOtpStore(otps)
  return { requestOtp, verifyOtp, notifyOfNumberChange, undelivered, findState: store.find }

  /**
   * Sends the phone its code. Sends nothing while an SMS is on its way, to a blocked phone or to a test number. 400
   * that names `field` for a number that takes no SMS, 429 budgets, caps and guard, 500 provider.
   */
  async function requestOtp (
    phone: Phone,
    platform: Platform,
    requestContext: RequestContext,
    field = 'phone'
  ): Promise<void> {
    const { e164 } = phone
    if (testCode(e164) !== undefined) return requestTestOtp(e164, requestContext)
    if (!takesSms(phone)) throw invalidField(field, sentences.phone)
    const slot = addresses.take(requestContext.address)
    let isSending = false
    try {
      const at = now()
      const network = networkOf(requestContext.address)
      const { account, applied } = await applyRequest(phone, network, slot, at)
      const { outcome, writes = [], written } = applied
      const { subject } = account
      if (outcome.type === 'limited') throw limited(subject, outcome, requestContext)
      if (outcome.type !== 'send') return requestContext.record('otp.already_sent', subject)
      if (account.blocked) return requestContext.record('otp.requested', subject, { reason: 'blocked' })
      isSending = true
      const sending = { phone: e164, platform, field, subject, sentAt: at, network, writes, giveBack: slot.giveBack }
      await send({ ...sending, ...outcome, written: written! }, requestContext)
    } finally {
      if (!isSending) slot.giveBack()
    }
  }

  /** Opens a challenge for a test number, without an SMS. */
  async function requestTestOtp (phone: string, requestContext: RequestContext): Promise<void> {
    const at = now()
    const event: OtpEvent = { ...newRequest(networkOf(requestContext.address)), silent: true }
    await wrapFailure('Failed to send OTP', true, store.apply(phone, { at, decide: state => next(state, event, at) }))
    requestContext.record('otp.requested', phone, { reason: 'test number' })
  }

  /** Applies the request by the counters and the account, which are read at the same time. */
  async function applyRequest (
    phone: Phone,
    network: string,
    slot: Take,
    at: Date
  ): Promise<{ account: Account, applied: Applied }> {
    const request = newRequest(network)
    const addressStop = slot.wait > 0 ? [{ reason: 'address', retryAfter: slot.wait }] : []
    const beside = accountStateOf(phone.e164)
    const change: Change<Account> = { ids: guard.idsFor(phone, network), beside, at, decide }
    const applied = await wrapFailure('Failed to send OTP', true, store.apply(phone.e164, change))
    return { account: await beside, applied }

    /** A blocked phone gets the same answer, and costs nothing. */
    function decide (state: OtpState, rows: Counters, { known, blocked }: Account): Decision {
      const decision = guard.decide({ rows, phone, network, isKnown: known || blocked, at })
      if (decision.type === 'stopped') {
        return next(state, { ...request, stop: longest([...addressStop, ...decision.stops]) }, at)
      }
      const { writes, counted } = decision
      if (blocked) return next(state, { ...request, stop: longest(addressStop) }, at)
      const decided = next(state, { ...request, counted, stop: longest(addressStop) }, at)
      return decided.outcome.type === 'send' ? { ...decided, writes } : decided
    }
  }

  function newRequest (network: string): OtpEvent & { type: 'request' } {
    return { type: 'request', nonce: randomBytes(16), life: lifeSeconds * 1000, network }
  }

  async function send (sending: Sending, requestContext: RequestContext): Promise<void> {
    const { phone, platform, field, subject, sentAt, nonce, writes } = sending
    warn(writes, requestContext)
    requestContext.record('otp.requested', subject)
    try {
      await sendSms({
        to: phone,
        body: smsMessage(otpCode(secret, nonce, phone), platform, wording),
        reference: String(sentAt.getTime())
      })
      requestContext.record('otp.sent', subject)
    } catch (cause) {
      if (cause instanceof SmsUnconfirmed) return requestContext.record('otp.sent', subject, { reason: 'unconfirmed' })
      const refused = cause instanceof NumberRefused
      requestContext.record(refused ? 'otp.refused' : 'otp.failed', subject)
      await cancel(sending, refused, requestContext)
      if (refused) throw invalidField(field, sentences.phone)
      throw new ServiceError(500, 'Failed to send OTP', { cause, detailed: true })
    }
  }

  /**
   * Restores the code that lived before, as no SMS was sent. `counted`: the provider refused the number, which costs as
   * much as an SMS.
   */
  async function cancel (
    { phone, sentAt, network, nonce, before, written, writes, giveBack }: Sending,
    counted: boolean,
    { log }: RequestContext
  ): Promise<void> {
    if (!counted) giveBack()
    const at = now()
    const event: OtpEvent = { type: 'unsent', sentAt, network, nonce, before, counted }
    const undo = counted ? [] : writes.flatMap(({ undo }) => undo)
    try {
      await store.amend(phone, written, { at, decide: state => next(state, event, at) }, undo)
    } catch (err) {
      log.error(
        { event: 'otp.restore_failed', phone: maskPhone(phone), err },
        'An SMS that was not sent stays counted for a day, because the database failed: the phone may be refused early'
      )
    }
  }

  /** Records a stop of all phones without the phone: a flood of numbers must not be a flood of rows. */
  function limited (subject: Subject, { reason, retryAfter }: Stop, requestContext: RequestContext): ServiceError {
    requestContext.record('otp.limited', reason === 'phone' ? subject : null, { reason })
    return tooManySms(retryAfter)
  }

  /**
   * Whether the code is right and this is the one request that used it; false for every wrong code. 429 while the phone
   * waits or the client address had too many failures.
   */
  async function verifyOtp ({ e164 }: Phone, otp: string, requestContext: RequestContext): Promise<boolean> {
    const { wait, giveBack } = failures.take(requestContext.address)
    if (wait > 0) {
      requestContext.record('otp.locked', null, { reason: 'address' })
      throw tooManyGuesses(wait)
    }
    const outcome = await compareCode(e164, readCode(otp)).catch((error: unknown) => {
      giveBack()
      throw error
    })
    if (outcome.type !== 'rejected' || outcome.replay) giveBack()
    const details: Record<string, string> = testCode(e164) === undefined ? {} : { reason: 'test number' }
    requestContext.record(
      outcome.type === 'accepted' ? 'otp.verified' : outcome.type === 'locked' ? 'otp.locked' : 'otp.rejected',
      e164,
      details
    )
    if (outcome.type === 'locked') throw tooManyGuesses(outcome.retryAfter)
    return outcome.type === 'accepted'
  }

  /**
   * Makes one comparison in every case, so that its time reveals nothing. Returns the outcome after the write that
   * counts it.
   */
  async function compareCode (phone: string, code: string | undefined): Promise<OtpOutcome> {
    const at = now()
    const matches = code === undefined
      ? undefined
      : (nonce: Buffer) => sameCode(code, testCode(phone) ?? otpCode(secret, nonce, phone))
    const { outcome } = await store.apply(phone, {
      at,
      decide (state) {
        if (matches && !state.challenge) matches(NO_NONCE)
        const decided = next(state, { type: 'guess', matches }, at)
        return {
          ...decided,
          ...(decided.outcome.type === 'accepted' &&
            decided.outcome.counted &&
            { writes: guard.used(decided.outcome.counted) })
        }
      }
    })
    return outcome
  }

  /**
   * Tells the old number that its account has a new one. Uses the caps of the service and not the phone's budget, which
   * the person who changed it may have used up. Never rejects: the change stands in any case.
   */
  async function notifyOfNumberChange (number: string, requestContext: RequestContext): Promise<void> {
    const phone = parsePhone(number, region)
    if (phone === undefined || testCode(phone.e164) !== undefined || !takesSms(phone)) return
    try {
      const at = now()
      const decision = await store.count(SERVICE, counters => guard.decideNotice(counters, at))
      if (decision.type === 'stopped') throw tooManySms(longest(decision.stops)!.retryAfter)
      const { writes } = decision
      warn(writes, requestContext)
      const message = { to: phone.e164, body: numberChangedMessage(wording), reference: String(at.getTime()) }
      await sendSms(message).catch(async (error: unknown) => {
        if (error instanceof SmsUnconfirmed) return
        await store.cancel(writes)
        throw error
      })
      requestContext.record('number_notice.sent', phone.e164)
    } catch (err) {
      requestContext.log.error(
        { event: 'number_notice.failed', phone: maskPhone(phone.e164), err },
        'The old number could not be told that its account has another number now'
      )
    }
  }

  /**
   * Handles a report that the SMS with this `reference`, else the last one, never arrived: the phone's next request
   * meets no gap.
   */
  async function undelivered (
    to: string,
    reference: string | undefined,
    errorCode: string,
    requestContext: RequestContext
  ): Promise<void> {
    const phone = normalizePhone(to.replace(/^whatsapp:/, ''), region)
    if (phone === undefined) return
    const at = now()
    const event: OtpEvent = {
      type: 'undelivered',
      ...(reference !== undefined && { sentAt: new Date(Number(reference)) })
    }
    const { outcome } = await store.apply(phone, { at, decide: state => next(state, event, at) })
    requestContext.record('otp.undelivered', phone, {
      error_code: errorCode.slice(0, MAX_ERROR_CODE),
      ...(outcome.type !== 'freed' && { reason: 'late' })
    })
  }

  /** The keyed hash of a client network, which hides the address. */
  function networkOf (address: string): string {
    return keyedHash(secret, 'address', clientOf(address))
  }
}

function warn (writes: CounterWrite[], { log }: RequestContext): void {
  for (const { warning } of writes) if (warning) log.warn({ event: warning.event, ...warning.fields }, warning.message)
}

const longest = (stops: Stop[]): Stop | undefined => stops.toSorted((a, b) => b.retryAfter - a.retryAfter)[0]
