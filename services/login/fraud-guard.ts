import type { CounterDocument } from '../../schemas/documents.js'
import { change, countsIn, countSms, hourOf, uncountSms, type CounterWrite } from './hour-counts.js'
import type { Stop } from './otp.js'

const STOP_MS = 15 * 60 * 1000
/** SMS that pass after a stop. Their used share decides. */
const TRIAL = 10

/** One country, block of numbers or client network. It is judged from `least` SMS in this hour on. */
export interface Group { _id: string, dimension: 'network' | 'prefix' | 'country', least: number }

/**
 * The result for an SMS of a group. `passes`: the group is in good standing after it. `stop`: the stop whose trial it
 * used.
 */
interface Verdict { write: CounterWrite, passes: boolean, stop?: string }

/**
 * The fraud guard for one group: counts one SMS, or says for how long none passes. A group stops when the share of its
 * used codes is below `share`. After 15 minutes 10 SMS pass. The group goes on when enough of their codes, or of those
 * of the hour in which it stopped, are used. `exempt`: the SMS is counted, and never stopped.
 */
export function checkGroup (
  { _id, dimension, least }: Group,
  row: CounterDocument | undefined,
  share: number,
  exempt: boolean,
  at: Date,
  newId: () => string
): Verdict | Stop {
  const hour = hourOf(at)
  const { sent, verified } = countsIn(row, hour)
  const fails = (count: number) => count >= least && verified / count < share
  const until = new Date(at.getTime() + STOP_MS)
  const stop = row?.stop
  const stopped = stop !== undefined && !recovered(row!, share)
  if (exempt) return { write: counted({}), passes: !stopped && !fails(sent + 1) }
  if (stopped) return stop.sent < TRIAL ? inTrial() : at < stop.until ? refused() : newTrial()
  if (stop !== undefined) {
    return {
      write: counted({ 'stop.id': stop.id }, {
        $unset: { stop: '' },
        ...(fails(sent + 1) && { $set: { [`hours.${hour}`]: { sent: 1, verified: 0 } } })
      }),
      passes: true
    }
  }
  if (fails(sent + 1)) return stopping()
  return {
    write: counted({
      stop: { $exists: false },
      ...below(Math.max(sent + 2, least, share > 0 ? Math.floor(verified / share) + 1 : Infinity) - 1)
    }),
    passes: true
  }

  function counted (bound: object, update?: object): CounterWrite {
    return { operation: countSms(_id, row, at, { ...bound }, update), undo: [uncountSms(_id, at)] }
  }

  function below (max: number): object {
    return max < Infinity ? { [`hours.${hour}.sent`]: { $not: { $gte: max } } } : {}
  }

  function inTrial (): Verdict {
    const { id } = stop!
    const { operation, undo } = counted({ 'stop.id': id, 'stop.sent': { $not: { $gte: TRIAL } } }, {
      $inc: { 'stop.sent': 1 }
    })
    return {
      write: { operation, undo: [...undo, change(_id, { 'stop.id': id }, { $inc: { 'stop.sent': -1 } })] },
      passes: false,
      stop: id
    }
  }

  function newTrial (): Verdict {
    const id = newId()
    const { operation, undo } = counted({ 'stop.id': stop!.id }, {
      $set: { stop: { id, hour, until, sent: 1, verified: 0 } }
    })
    return {
      write: { operation, undo: [...undo, change(_id, { 'stop.id': id }, { $inc: { 'stop.sent': -1 } })] },
      passes: false,
      stop: id
    }
  }

  function refused (): Stop {
    return {
      reason: `fraud ${dimension}`,
      retryAfter: Math.max(1, Math.ceil((stop!.until.getTime() - at.getTime()) / 1000))
    }
  }

  /** The SMS that brings the group to its bound passes, and is the last. */
  function stopping (): Verdict {
    const id = newId()
    const { operation, undo } = counted({ stop: { $exists: false }, ...below(sent + 1) }, {
      $set: { stop: { id, hour, until, sent: TRIAL, verified: 0 } }
    })
    const value = dimension === 'network' ? {} : { value: _id.slice(_id.indexOf(':') + 1) }
    const line = {
      event: 'sms.stopped',
      message: 'Too few codes of this group are used: its phones without an account get no SMS for 15 minutes',
      fields: { dimension, ...value, sent: sent + 1, verified }
    }
    return {
      write: { operation, undo: [...undo, change(_id, { 'stop.id': id }, { $unset: { stop: '' } })], line },
      passes: false
    }
  }
}

function recovered (row: CounterDocument, share: number): boolean {
  const { hour, verified } = row.stop!
  const then = countsIn(row, hour)
  return verified >= share * TRIAL || (then.sent > 0 && then.verified / then.sent >= share)
}
