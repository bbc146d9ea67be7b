import { clientOf } from './address.js'
import type { AddressLimit } from './address-limits.js'
import { digest } from './digest.js'
import type { Stop } from './otp.js'
import { parsePhone } from './phone.js'
import type { Clock, Visitor } from './ports.js'
import { bucket, WINDOWS, type Bucket, type Counts, type createTextCounts, type Window } from './text-counts.js'

const ALARM_AT = 0.8
/** Of one client address's texts whose codes are unused, as many count at most for country and prefix in a window: one client alone must not stop a country. */
const UNUSED_OF_ADDRESS = 5
const CAP_NAMES = { hour: 'hourly cap', day: 'daily cap' }

export interface TextGuardOptions {
  counts: ReturnType<typeof createTextCounts>
  addresses: AddressLimit
  secret: string
  /** Texts of the whole service; 0 is no cap. */
  caps: Record<Window, number>
  /** From `minTexts` texts on, what has a smaller share of its codes used than `minVerified` gets none; 0 texts is no guard. Where it does not `stop`, it only counts. */
  fraud: { minTexts: number, minVerified: number, stop: boolean }
  now: Clock
}

export type TextGuard = ReturnType<typeof createTextGuard>

/** What stands between a request and the bill: the limit of the client address, the caps of the service, and the share of texts whose code was used, by address, country and number prefix. */
export function createTextGuard ({ counts, addresses, secret, caps, fraud, now }: TextGuardOptions) {
  const capped = WINDOWS.filter(window => caps[window] > 0)
  const capBuckets = () => capped.map(window => bucket(window, 'service', 'all', now()))
  const retryAfter = ({ end }: Bucket) => Math.max(1, Math.ceil((end - now().getTime()) / 1000))
  return { originOf, stopOf, take, takeUnasked, verified }

  /** Where a text is asked for, as a name that nobody can read an address from. */
  function originOf (address: string): string {
    return digest(secret, 'address', clientOf(address))
  }

  /** Why `visitor` gets no text for `phone` now, if so: of several reasons the one that lasts longest. Takes nothing. */
  async function stopOf (phone: string, visitor: Visitor): Promise<Stop | undefined> {
    const ownLimit = addresses.wait(visitor.address)
    const stops: Stop[] = ownLimit > 0 ? [{ reason: 'address', retryAfter: ownLimit }] : []
    const [service, parts] = [capBuckets(), fraud.stop ? fraudBuckets(phone, originOf(visitor.address), now()) : []]
    const rows = service.length + parts.length > 0 ? await counts.read([...service, ...parts]) : new Map<string, never>()
    for (const bucket of service) {
      if ((rows.get(bucket._id)?.sent ?? 0) >= caps[bucket.window]) stops.push({ reason: CAP_NAMES[bucket.window], retryAfter: retryAfter(bucket) })
    }
    for (const bucket of parts) {
      const { sent = 0, verified = 0, alarmed = false } = rows.get(bucket._id) ?? {}
      if (sent < fraud.minTexts || verified / sent >= fraud.minVerified) continue
      stops.push({ reason: `fraud ${bucket.dimension}`, retryAfter: retryAfter(bucket) })
      if (!alarmed) await report('sms.stopped', bucket, { sent, verified }, visitor)
    }
    return stops.sort((a, b) => b.retryAfter - a.retryAfter)[0]
  }

  /** Counts one text, about to be sent, everywhere. Returns what takes that back when it is not sent, or why it must not be: strict however many ask at once. */
  async function take (phone: string, visitor: Visitor): Promise<(() => Promise<void>) | Stop> {
    const giveBack = addresses.take(visitor.address)
    if (typeof giveBack === 'number') return { reason: 'address', retryAfter: giveBack }
    const at = now()
    const origin = originOf(visitor.address)
    const unreserve = await takeUnasked(visitor).catch((error: unknown) => {
      giveBack()
      throw error
    })
    if (typeof unreserve !== 'function') {
      giveBack()
      return unreserve
    }
    const judged = await safely(() => judge(phone, origin, at, { sent: 1, verified: 0 }), visitor)
    return async () => {
      giveBack()
      await unreserve()
      if (judged) await safely(() => judge(phone, origin, at, { sent: -1, verified: 0 }), visitor)
    }
  }

  /** The same for a text that nobody asked for and that has no code: it counts in the caps of the service only. */
  async function takeUnasked (visitor: Visitor): Promise<(() => Promise<void>) | Stop> {
    const taken: Bucket[] = []
    const release = async () => {
      await safely(async () => { if (taken.length > 0) await counts.add(taken, { sent: -1, verified: 0 }) }, visitor)
    }
    try {
      for (const bucket of capBuckets()) {
        const row = await counts.reserve(bucket, caps[bucket.window])
        if (!row) {
          await release()
          return { reason: CAP_NAMES[bucket.window], retryAfter: retryAfter(bucket) }
        }
        taken.push(bucket)
        if (row.sent >= ALARM_AT * caps[bucket.window] && !row.alarmed) await report('sms.alarm', bucket, { sent: row.sent, cap: caps[bucket.window] }, visitor)
      }
    } catch (error) {
      await release()
      throw error
    }
    return release
  }

  /** Counts a code that was used. `origin`: where its text was asked for. */
  async function verified (phone: string, origin: string | undefined, visitor: Visitor): Promise<void> {
    await safely(() => judge(phone, origin, now(), { sent: 0, verified: 1 }), visitor)
  }

  function fraudBuckets (phone: string, origin: string, at: Date): Bucket[] {
    if (fraud.minTexts === 0) return []
    return WINDOWS.flatMap(window => [bucket(window, 'address', origin, at), ...places(window, phone, at)])
  }

  function places (window: Window, phone: string, at: Date): Bucket[] {
    const { country, prefix } = parsePhone(phone, 'IN')!
    return [bucket(window, 'country', country, at), bucket(window, 'prefix', prefix, at)]
  }

  /** Counts what the guard judges by, in the windows of `at`. */
  async function judge (phone: string, origin: string | undefined, at: Date, by: Counts): Promise<void> {
    if (fraud.minTexts === 0) return
    await Promise.all(WINDOWS.map(async window => {
      const sent = origin === undefined ? by.sent : contribution(await counts.change(bucket(window, 'address', origin, at), by), by)
      await counts.add(places(window, phone, at), { ...by, sent })
    }))
  }

  /** Whether that worked: a count that fails must not make the request fail. */
  async function safely (count: () => Promise<void>, { log }: Visitor): Promise<boolean> {
    try {
      await count()
      return true
    } catch (err) {
      log.error({ event: 'sms.uncounted', err })
      return false
    }
  }

  /** One line in the log for each window, whoever comes first. */
  async function report (event: string, bucket: Bucket, figures: object, { log }: Visitor): Promise<void> {
    const { window, dimension, value } = bucket
    try {
      if (await counts.raiseAlarm(bucket)) log.warn({ event, window, dimension, ...(dimension !== 'address' && { value }), ...figures })
    } catch (err) {
      log.error({ event: 'sms.unreported', err })
    }
  }
}

/** What a change of an address's counts to `after` changes for its places: an address counts there with its used codes and a few unused ones. */
function contribution (after: Counts, { sent, verified }: Counts): number {
  const counted = (row: Counts) => Math.min(row.sent, row.verified + UNUSED_OF_ADDRESS)
  return counted(after) - counted({ sent: after.sent - sent, verified: after.verified - verified })
}
