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
  type FindAccount,
  type SendSms,
  type Subject,
  type RequestContext
} from '../ports.js'
import { numberChangedMessage, smsMessage, type Wording } from '../sms/message.js'
import type { AddressLimit } from './address-limits.js'
import type { CounterWrite } from './hour-counts.js'
import {
  createOtpStore,
  type Applied,
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
  findAccount: FindAccount
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

/** An SMS that is counted, and about to be sent. */
interface Sending {
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
  findAccount,
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
    const isTest = testCode(e164) !== undefined
    if (!isTest && !takesSms(phone)) throw invalidField(field, sentences.phone)
    const at = now()
    const request = {
      type: 'request',
      nonce: randomBytes(16),
      life: lifeSeconds * 1000,
      network: networkOf(requestContext.address)
    } as const
    let account: Awaited<ReturnType<FindAccount>> = { known: false, blocked: false, subject: e164 }
    let taken: ReturnType<AddressLimit['take']> | undefined
    const giveBack = () => { if (typeof taken === 'function') taken() }

    const applying = wrapFailure('Failed to send OTP', true, isTest ? applyTest() : applyRequest())
    const { outcome, writes = [], written } = await applying.catch((error: unknown) => {
      giveBack()
      throw error
    })
    if (outcome.type !== 'send') giveBack()
    if (outcome.type === 'limited') throw limited(account.subject, outcome, requestContext)
    if (outcome.type !== 'send') requestContext.record('otp.already_sent', account.subject)
    else if (isTest) requestContext.record('otp.requested', account.subject, { reason: 'test number' })
    else if (account.blocked) requestContext.record('otp.requested', account.subject, { reason: 'blocked' })
    else {
      const { network } = request
      const sending = { subject: account.subject, sentAt: at, network, ...outcome, written: written!, writes, giveBack }
      await send(phone, platform, sending, requestContext, field)
    }

    function applyTest (): Promise<Applied> {
      return store.apply(e164, { at, decide: state => next(state, { ...request, silent: true }, at) })
    }

    function applyRequest (): Promise<Applied> {
      const beside = findAccount(e164).then(found => { account = found })
      return store.apply(e164, { ids: guard.idsFor(phone, request.network), beside, at, decide })
    }

    /** A blocked phone gets the same answer, and costs nothing. */
    function decide (state: OtpState, counters: Counters): Decision {
      const verdict = guard.decide(counters, phone, request.network, account.known || account.blocked, at)
      const { writes, counted } = Array.isArray(verdict) ? { writes: [] } : verdict
      const stops = [
        ...addressStop(typeof taken === 'function' ? 0 : addresses.wait(requestContext.address)),
        ...(Array.isArray(verdict) ? verdict : [])
      ]
      const decided = next(
        state,
        { ...request, counted: account.blocked ? undefined : counted, stop: longest(stops) },
        at
      )
      if (decided.outcome.type !== 'send' || account.blocked) return decided
      taken ??= addresses.take(requestContext.address)
      if (typeof taken === 'number') return next(state, { ...request, stop: longest(addressStop(taken)) }, at)
      return { ...decided, writes }
    }
  }

  async function send (
    { e164 }: Phone,
    platform: Platform,
    sending: Sending,
    requestContext: RequestContext,
    field: string
  ): Promise<void> {
    const { subject, sentAt, nonce, writes } = sending
    log(writes, requestContext)
    requestContext.record('otp.requested', subject)
    try {
      await sendSms({
        to: e164,
        body: smsMessage(otpCode(secret, nonce, e164), platform, wording),
        reference: String(sentAt.getTime())
      })
      requestContext.record('otp.sent', subject)
    } catch (cause) {
      if (cause instanceof SmsUnconfirmed) return requestContext.record('otp.sent', subject, { reason: 'unconfirmed' })
      const refused = cause instanceof NumberRefused
      requestContext.record(refused ? 'otp.refused' : 'otp.failed', subject)
      await cancel(e164, sending, refused, requestContext)
      if (refused) throw invalidField(field, sentences.phone)
      throw new ServiceError(500, 'Failed to send OTP', { cause, detailed: true })
    }
  }

  /**
   * Restores the code that lived before, as no SMS was sent. `counted`: the provider refused the number, which costs as
   * much as an SMS.
   */
  async function cancel (
    phone: string,
    { sentAt, network, nonce, before, written, writes, giveBack }: Sending,
    counted: boolean,
    { log }: RequestContext
  ): Promise<void> {
    if (!counted) giveBack()
    const at = now()
    const event: OtpEvent = { type: 'unsent', sentAt, network, nonce, before, counted }
    await store.amend(
      phone,
      written,
      { at, decide: state => next(state, event, at) },
      counted ? [] : writes.flatMap(({ undo }) => undo)
    )
      .catch((err: unknown) =>
        log.error(
          { event: 'otp.restore_failed', phone: maskPhone(phone), err },
          'An SMS that was not sent stays counted'
        ))
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
    const giveBack = failures.take(requestContext.address)
    if (typeof giveBack === 'number') {
      requestContext.record('otp.locked', null, { reason: 'address' })
      throw tooManyGuesses(giveBack)
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
      const writes = await store.count(SERVICE, counters => guard.decideUnasked(counters, at))
      if (!Array.isArray(writes)) throw tooManySms(writes.retryAfter)
      log(writes, requestContext)
      const message = { to: phone.e164, body: numberChangedMessage(wording), reference: String(at.getTime()) }
      await sendSms(message).catch(async (error: unknown) => {
        if (error instanceof SmsUnconfirmed) return
        await store.cancel(writes)
        throw error
      })
      requestContext.record('notice.sent', phone.e164)
    } catch (err) {
      requestContext.log.error(
        { event: 'notice.failed', phone: maskPhone(phone.e164), err },
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

function log (writes: CounterWrite[], { log }: RequestContext): void {
  for (const { line } of writes) if (line) log.warn({ event: line.event, ...line.fields }, line.message)
}

const addressStop = (wait: number): Stop[] => wait > 0 ? [{ reason: 'address', retryAfter: wait }] : []
const longest = (stops: Stop[]): Stop | undefined => stops.toSorted((a, b) => b.retryAfter - a.retryAfter)[0]
