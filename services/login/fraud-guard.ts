import type { CounterDocument } from '../../schemas/documents.js'
import { change, countsIn, countSms, hourOf, uncountSms, type CounterWrite } from './hour-counts.js'
import type { Stop } from './otp.js'

const STOP_MS = 15 * 60 * 1000
/** SMS that pass after a stop. Their used share decides. */
const MAX_TRIAL_SMS = 10

/** One country, block of numbers or client network. It is judged from `least` SMS in this hour on. */
export interface Group { _id: string, dimension: 'network' | 'prefix' | 'country', least: number }

/** The result for an SMS of a group. */
export type GroupDecision =
  /** `isTrusted`: the group is in good standing after the SMS. `trialOf`: the stop whose trial it used. */
  | { type: 'allowed', write: CounterWrite, isTrusted: boolean, trialOf?: string }
  | { type: 'stopped', stop: Stop }

export interface GroupCheck {
  group: Group
  /** Its counter as it was read. */
  row: CounterDocument | undefined
  /** The least share of codes that are used. */
  share: number
  /** The SMS is counted, and never stopped. */
  exempt: boolean
  at: Date
  newId: () => string
}

/**
 * The fraud guard for one group: counts one SMS, or says for how long none passes. A group stops when the share of its
 * used codes is below `share`. After 15 minutes 10 SMS pass. The group goes on when enough of their codes, or of those
 * of the hour in which it stopped, are used.
 */
export function checkGroup ({ group, row, share, exempt, at, newId }: GroupCheck): GroupDecision {
  const { _id, dimension, least } = group
  const hour = hourOf(at)
  const { sent, verified } = countsIn(row, hour)
  const fails = (count: number) => count >= least && verified / count < share
  const until = new Date(at.getTime() + STOP_MS)
  const stop = row?.stop
  const stopped = stop !== undefined && !recovered(row!, share)
  if (exempt) return { type: 'allowed', write: counted({}), isTrusted: !stopped && !fails(sent + 1) }
  if (stopped) return stop.sent < MAX_TRIAL_SMS ? inTrial() : at < stop.until ? refused() : newTrial()
  if (stop !== undefined) {
    const write = counted({ 'stop.id': stop.id }, {
      $unset: { stop: '' },
      ...(fails(sent + 1) && { $set: { [`hours.${hour}`]: { sent: 1, verified: 0 } } })
    })
    return { type: 'allowed', write, isTrusted: true }
  }
  if (fails(sent + 1)) return stopping()
  const enoughUsed = share > 0 ? Math.floor(verified / share) + 1 : Infinity
  const write = counted({ stop: { $exists: false }, ...below(Math.max(sent + 2, least, enoughUsed) - 1) })
  return { type: 'allowed', write, isTrusted: true }

  function counted (bound: object, update?: object): CounterWrite {
    return { operation: countSms({ _id, row, at, bound: { ...bound }, update }), undo: [uncountSms(_id, at)] }
  }

  function below (max: number): object {
    return max < Infinity ? { [`hours.${hour}.sent`]: { $not: { $gte: max } } } : {}
  }

  function inTrial (): GroupDecision {
    const { id } = stop!
    const hasRoom = { 'stop.sent': { $not: { $gte: MAX_TRIAL_SMS } } }
    return trial(id, counted({ 'stop.id': id, ...hasRoom }, { $inc: { 'stop.sent': 1 } }))
  }

  function newTrial (): GroupDecision {
    const id = newId()
    const begun = { $set: { stop: { id, hour, until, sent: 1, verified: 0 } } }
    return trial(id, counted({ 'stop.id': stop!.id }, begun))
  }

  function trial (id: string, { operation, undo }: CounterWrite): GroupDecision {
    const giveBack = change(_id, { 'stop.id': id }, { $inc: { 'stop.sent': -1 } })
    return { type: 'allowed', write: { operation, undo: [...undo, giveBack] }, isTrusted: false, trialOf: id }
  }

  function refused (): GroupDecision {
    const retryAfter = Math.max(1, Math.ceil((stop!.until.getTime() - at.getTime()) / 1000))
    return { type: 'stopped', stop: { reason: `fraud ${dimension}`, retryAfter } }
  }

  /** The SMS that brings the group to its bound passes, and is the last. */
  function stopping (): GroupDecision {
    const id = newId()
    const { operation, undo } = counted({ stop: { $exists: false }, ...below(sent + 1) }, {
      $set: { stop: { id, hour, until, sent: MAX_TRIAL_SMS, verified: 0 } }
    })
    const value = dimension === 'network' ? {} : { value: _id.slice(_id.indexOf(':') + 1) }
    const warning = {
      event: 'sms.stopped',
      message: 'Too few codes of this group are used: its phones without an account get no SMS for 15 minutes',
      fields: { dimension, ...value, sent: sent + 1, verified }
    }
    const unstop = change(_id, { 'stop.id': id }, { $unset: { stop: '' } })
    return { type: 'allowed', write: { operation, undo: [...undo, unstop], warning }, isTrusted: false }
  }
}

function recovered (row: CounterDocument, share: number): boolean {
  const { hour, verified } = row.stop!
  const then = countsIn(row, hour)
  return verified >= share * MAX_TRIAL_SMS || (then.sent > 0 && then.verified / then.sent >= share)
}
