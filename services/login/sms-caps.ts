import type { CounterDocument } from '../../schemas/documents.js'
import { countsIn, countSms, hourOf, HOUR_MS, lastDay, uncountSms, type CounterWrite } from './hour-counts.js'
import type { Stop } from './otp.js'

/** The document that counts all SMS of the service. */
export const SERVICE = 'service'
const ALARM_AT = 0.8

/** SMS of the service in one and in 24 clock hours; 0 is no cap. */
export interface Caps { hour: number, day: number }

/** SMS of the last 24 hours. */
export function dayTotal (row: CounterDocument | undefined, at: Date): number {
  return lastDay(row, hourOf(at)).reduce((sum, { sent }) => sum + sent, 0)
}

export type CapDecision = { type: 'allowed', write: CounterWrite } | { type: 'stopped', stops: Stop[] }

/** Counts one SMS for the caps, or tells which caps stop it. `share`: the usable part of each cap. */
export function countForCaps (row: CounterDocument | undefined, caps: Caps, share: number, at: Date): CapDecision {
  const hour = hourOf(at)
  const { sent } = countsIn(row, hour)
  const hours = lastDay(row, hour)
  const earlier = hours.filter(other => other.hour !== hour)
  const max = { hour: portion(caps.hour, share), day: portion(caps.day, share) }
  const total = dayTotal(row, at)
  const stops: Stop[] = [
    ...(sent >= max.hour ? [{ reason: 'hourly cap', retryAfter: secondsUntil(hour + 1, at) }] : []),
    ...(total >= max.day
      ? [{ reason: 'daily cap', retryAfter: secondsUntil(firstHourBelow(max.day, total, hours, hour), at) }]
      : [])
  ]
  if (stops.length > 0) return { type: 'stopped', stops }

  const silentUntil = [
    caps.hour > 0 && row?.alarms?.hour !== hour ? alarmThreshold(caps.hour) : Infinity,
    caps.day > 0 && !isAlarmed(row, hour) ? alarmThreshold(caps.day) - (total - sent) : Infinity
  ]
  const bound = Math.min(max.hour, max.day - (total - sent), ...silentUntil.filter(max => sent < max))
  const neighbours = max.day === Infinity
    ? []
    : [hour - 1, hour + 1].map(other =>
        [`hours.${other}.sent`, { $not: { $gt: earlier.find(({ hour }) => hour === other)?.sent ?? 0 } }])
  const alarm = alarmOf({ row, caps, sent: sent + 1, total: total + 1, hour })
  const operation = countSms({
    _id: SERVICE,
    row,
    at,
    bound: {
      ...(bound < Infinity && { [`hours.${hour}.sent`]: { $not: { $gte: bound } } }),
      ...Object.fromEntries(neighbours),
      ...alarm?.bound
    },
    update: { $set: alarm?.set }
  })
  const write = { operation, undo: [uncountSms(SERVICE, at)], ...(alarm && { warning: alarm.warning }) }
  return { type: 'allowed', write }
}

/** SMS without a warning in the log. The next one writes it, so that no rush of requests passes it by. */
const alarmThreshold = (cap: number) => Math.ceil(ALARM_AT * cap) - 1
const isAlarmed = (row: CounterDocument | undefined, hour: number) => (row?.alarms?.day ?? 0) > hour - 24
const portion = (cap: number, share: number) => cap === 0 ? Infinity : Math.ceil(cap * share)
const secondsUntil = (hour: number, at: Date) => Math.max(1, Math.ceil((hour * HOUR_MS - at.getTime()) / 1000))

/** The hour in which enough hours have left the day that less than `max` SMS remain. */
function firstHourBelow (
  max: number,
  total: number,
  hours: Array<{ hour: number, sent: number }>,
  now: number
): number {
  let left = total
  for (const { hour, sent } of hours) {
    left -= sent
    if (left < max) return hour + 24
  }
  return now + 24
}

/** Near a cap one line is logged per hour and per day, by the process that writes the alarm. */
function alarmOf ({ row, caps, sent, total, hour }: {
  row: CounterDocument | undefined
  caps: Caps
  /** SMS of this hour, and of the day. */
  sent: number
  total: number
  hour: number
}) {
  if (caps.day > 0 && total >= ALARM_AT * caps.day && !isAlarmed(row, hour)) {
    return alarm('day', total, caps.day, { $not: { $gt: hour - 24 } })
  }
  if (caps.hour > 0 && sent >= ALARM_AT * caps.hour && row?.alarms?.hour !== hour) {
    return alarm('hour', sent, caps.hour, { $ne: hour })
  }

  function alarm (window: keyof Caps, count: number, cap: number, bound: object) {
    const warning = {
      event: 'sms.cap_approached',
      message: 'The service has sent most of the SMS that its cap allows',
      fields: { window, sent: count, cap }
    }
    return { bound: { [`alarms.${window}`]: bound }, set: { [`alarms.${window}`]: hour }, warning }
  }
}
