import { randomBytes } from 'node:crypto'
import type { Challenge, CounterDocument } from '../../schemas/documents.js'
import type { Phone } from '../phone.js'
import { checkGroup, type Group } from './fraud-guard.js'
import { change, hourOf, type CounterWrite } from './hour-counts.js'
import type { Stop } from './otp.js'
import { countForCaps, dayTotal, SERVICE, type Caps } from './sms-caps.js'

const MIN_OF_NETWORK = 5
/** The share of the day's SMS that a country or prefix must send this hour to be judged. */
const MIN_OF_DAY = 1 / 5
/** The part of each cap for phones without an account. */
const CAP_SHARE_WITHOUT_ACCOUNT = 1 / 2

export interface SmsGuardOptions {
  caps: Caps
  /**
   * From `minSms` in an hour on, a country or prefix stops if its share of used codes is below `minVerified`.
   * Undefined: no guard.
   */
  fraud?: { minSms: number, minVerified: number }
}

/** Where one SMS is counted: the documents, and the hour. */
export type Counted = NonNullable<Challenge['counted']>

/** `stops`: all that stop the SMS, the longest first. `counted`: where its use will be counted. */
export type SmsDecision =
  | { type: 'allowed', writes: CounterWrite[], counted?: Counted }
  | { type: 'stopped', stops: Stop[] }

/** An SMS to be judged. */
export interface SmsRequest {
  /** The documents of `idsFor`, as read. */
  rows: Map<string, CounterDocument>
  phone: Phone
  /** The client network that asks, as a keyed hash. */
  network: string
  /** The phone has an account. */
  isKnown: boolean
  at: Date
}

export type SmsGuard = ReturnType<typeof createSmsGuard>

/** Limits the bill by the caps of the service and the fraud guard. Counts only what can stop an SMS. */
export function createSmsGuard ({ caps, fraud }: SmsGuardOptions) {
  const isCapped = caps.hour > 0 || caps.day > 0
  return { idsFor, decide, decideNotice, used }

  /** The documents that judge an SMS to `phone`, requested from `network`. */
  function idsFor (phone: Phone, network: string): string[] {
    return [
      ...(isCapped || fraud ? [SERVICE] : []),
      ...(fraud ? groups(phone, network, 0, 0).map(({ _id }) => _id) : [])
    ]
  }

  /** Decides how the SMS is counted, or what stops it. */
  function decide (request: SmsRequest): SmsDecision {
    const { rows, isKnown, at } = request
    if (!isCapped && !fraud) return { type: 'allowed', writes: [] }
    const cap = countForCaps(rows.get(SERVICE), caps, isKnown || !fraud ? 1 : CAP_SHARE_WITHOUT_ACCOUNT, at)
    const groups: SmsDecision = fraud ? byGroups(request, fraud) : { type: 'allowed', writes: [] }
    if (cap.type === 'allowed' && groups.type === 'allowed') {
      return { ...groups, writes: [cap.write, ...groups.writes] }
    }
    const stops = [cap, groups].flatMap(part => part.type === 'stopped' ? part.stops : [])
    return { type: 'stopped', stops: stops.sort((a, b) => b.retryAfter - a.retryAfter) }
  }

  /** The same for an SMS without a code that no client requested: only the caps count it. */
  function decideNotice (rows: Map<string, CounterDocument>, at: Date): SmsDecision {
    if (!isCapped && !fraud) return { type: 'allowed', writes: [] }
    const cap = countForCaps(rows.get(SERVICE), caps, 1, at)
    return cap.type === 'allowed' ? { type: 'allowed', writes: [cap.write] } : cap
  }

  /**
   * Counts an SMS for its country and prefix only if its network stays in good standing: one client must not stop a
   * country.
   */
  function byGroups (
    { rows, phone, network, isKnown, at }: SmsRequest,
    { minSms, minVerified: share }: NonNullable<typeof fraud>
  ): SmsDecision {
    const total = dayTotal(rows.get(SERVICE), at) + 1
    const decisions = groups(phone, network, minSms, total).map(group => ({
      _id: group._id,
      ...checkGroup({ group, row: rows.get(group._id), share, exempt: isKnown, at, newId })
    }))
    const stops = decisions.flatMap(decision => decision.type === 'stopped' ? [decision.stop] : [])
    if (stops.length > 0) return { type: 'stopped', stops }
    const allowed = decisions.filter(decision => decision.type === 'allowed')
    const counting = allowed[0]!.isTrusted ? allowed : allowed.slice(0, 1)
    const by = counting.map(({ _id, trialOf }) => ({ _id, ...(trialOf && { stop: trialOf }) }))
    return { type: 'allowed', writes: counting.map(({ write }) => write), counted: { hour: hourOf(at), by } }
  }

  /** Counts that the code of an SMS was used. */
  function used ({ hour, by }: Counted): CounterWrite[] {
    return by.flatMap(({ _id, stop }) => [
      { bound: { [`hours.${hour}`]: { $exists: true } }, field: `hours.${hour}.verified` },
      ...(stop ? [{ bound: { 'stop.id': stop }, field: 'stop.verified' }] : [])
    ].map(({ bound, field }) => ({
      operation: change(_id, bound, { $inc: { [field]: 1 } }),
      undo: [change(_id, bound, { $inc: { [field]: -1 } })]
    })))
  }
}

/** The client network first. */
function groups ({ country, prefix }: Phone, network: string, minSms: number, total: number): Group[] {
  const least = Math.max(minSms, total * MIN_OF_DAY)
  return [
    { _id: `network:${network}`, dimension: 'network', least: MIN_OF_NETWORK },
    { _id: `prefix:${prefix}`, dimension: 'prefix', least },
    { _id: `country:${country}`, dimension: 'country', least }
  ]
}

const newId = () => randomBytes(9).toString('base64url')
