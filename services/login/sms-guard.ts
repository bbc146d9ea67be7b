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
const STRANGERS = 1 / 2

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
export interface Verdict { writes: CounterWrite[], counted?: Counted }

export type SmsGuard = ReturnType<typeof createSmsGuard>

/** Limits the bill by the caps of the service and the fraud guard. Counts only what can stop an SMS. */
export function createSmsGuard ({ caps, fraud }: SmsGuardOptions) {
  const isCapped = caps.hour > 0 || caps.day > 0
  return { idsFor, decide, decideUnasked, used }

  /** The documents that judge an SMS to `phone`, requested from `network`. */
  function idsFor (phone: Phone, network: string): string[] {
    return [
      ...(isCapped || fraud ? [SERVICE] : []),
      ...(fraud ? groups(phone, network, 0, 0).map(({ _id }) => _id) : [])
    ]
  }

  /**
   * Decides by these documents how the SMS is counted, or what stops it, the longest first. `isKnown`: the phone has an
   * account.
   */
  function decide (rows: Map<string, CounterDocument>, phone: Phone, network: string, isKnown: boolean, at: Date):
    | Verdict
    | Stop[] {
    if (!isCapped && !fraud) return { writes: [] }
    const service = rows.get(SERVICE)
    const cap = countForCaps(service, caps, isKnown || !fraud ? 1 : STRANGERS, at)
    const verdict = fraud ? byGroups(rows, fraud, phone, network, isKnown, at) : { writes: [] }
    const stops = [cap, verdict].flatMap(part => Array.isArray(part) ? part : [])
    if (stops.length > 0) return stops.sort((a, b) => b.retryAfter - a.retryAfter)
    const { writes, counted } = verdict as Verdict
    return { writes: [cap as CounterWrite, ...writes], counted }
  }

  /** The same for an SMS without a code that no client requested: only the caps count it. */
  function decideUnasked (rows: Map<string, CounterDocument>, at: Date): CounterWrite[] | Stop {
    if (!isCapped && !fraud) return []
    const cap = countForCaps(rows.get(SERVICE), caps, 1, at)
    return Array.isArray(cap) ? cap[0]! : [cap]
  }

  /**
   * Counts an SMS for its country and prefix only if its network stays in good standing: one client must not stop a
   * country.
   */
  function byGroups (
    rows: Map<string, CounterDocument>,
    { minSms, minVerified }: NonNullable<typeof fraud>,
    phone: Phone,
    network: string,
    isKnown: boolean,
    at: Date
  ): Verdict | Stop[] {
    const total = dayTotal(rows.get(SERVICE), at) + 1
    const verdicts = groups(phone, network, minSms, total).map(group => ({
      group,
      verdict: checkGroup(group, rows.get(group._id), minVerified, isKnown, at, newId)
    }))
    const stops = verdicts.flatMap(({ verdict }) => 'reason' in verdict ? [verdict] : [])
    if (stops.length > 0) return stops
    const passed = verdicts.flatMap(({ group: { _id }, verdict }) => 'write' in verdict ? [{ _id, ...verdict }] : [])
    const counting = passed[0]!.passes ? passed : passed.slice(0, 1)
    return {
      writes: counting.map(({ write }) => write),
      counted: { hour: hourOf(at), by: counting.map(({ _id, stop }) => ({ _id, ...(stop && { stop }) })) }
    }
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
