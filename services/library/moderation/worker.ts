import { ObjectId, type Collection } from 'mongodb'
import type { LibraryDocument, ReportDocument, ReportStateDocument } from '../../../schemas/documents.js'
import type { createLease } from '../../lease.js'
import type { Clock, Log, MediaStore } from '../../ports.js'
import { settledWithin } from '../../settled-within.js'
import type { ReportCounts } from './report-counts.js'

/** No request takes longer than this between a report and its count. */
const COUNTED_AFTER_MS = 30_000
const MAX_IN_A_ROUND = 100
const CLOSE_MS = 900
const PUT_OFF_MS = 60_000
const SECOND = 1000
/** The pauses after a delivery that failed. The last one repeats for a day. */
const PAUSES_MS = [5, 30, 120, 600, 1800, 3600].map(seconds => seconds * SECOND)
const GIVE_UP_MS = 24 * 3600 * SECOND

type EventKind = 'reported' | 'hidden'

/** A message to the moderators. A repeated one has the same `id`. */
export interface ModerationEvent {
  id: string
  body: {
    type: 'item.reported' | 'item.hidden'
    timestamp: string
    data: { item_id: string, owner_id: string | null, url: string, count: number, reasons: Record<string, number> }
  }
}

export type DeliveryOutcome = 'delivered' | 'failed' | 'given_up'

export interface ModerationWorkerOptions {
  library: Collection<LibraryDocument>
  reports: Collection<ReportDocument>
  report_states: Collection<ReportStateDocument>
  counts: Pick<ReportCounts, 'judge'>
  forgetReports: (item: ObjectId) => Promise<void>
  lease: ReturnType<typeof createLease>
  media: Pick<MediaStore, 'url'>
  /** Delivers a message, or rejects. Absent if nobody is told. */
  deliver?: (event: ModerationEvent, signal: AbortSignal) => Promise<void>
  onDelivery: (outcome: DeliveryOutcome) => void
  now: Clock
  log: Log
}

/**
 * Finishes what a request or a process left: reports that are not counted, items that are not hidden yet, and events
 * that nobody was told of. One process at a time does it.
 */
export function createModerationWorker ({
  library,
  reports,
  report_states: states,
  counts,
  forgetReports,
  lease,
  media,
  deliver,
  onDelivery,
  now,
  log
}: ModerationWorkerOptions) {
  const stopping = new AbortController()
  let working: Promise<unknown> = Promise.resolve()
  return { run, close }

  /** Runs one round after the current one. Rejects if the database fails. */
  function run (): Promise<void> {
    const round = working.then(runOnce)
    working = round.catch(() => {})
    return round
  }

  /** Stops the current round after its present step. Waits for that at most CLOSE_MS. */
  async function close (): Promise<void> {
    stopping.abort()
    await settledWithin(working, CLOSE_MS)
  }

  /** Without work it asks the database twice, and needs no lease. */
  async function runOnce (): Promise<void> {
    if (stopping.signal.aborted) return
    const items = await itemsWithWork()
    if (items.length === 0) return
    let isReceiving = deliver !== undefined
    try {
      for (const item of items) {
        if (stopping.signal.aborted || !await lease.hold()) return
        isReceiving = await finish(item, isReceiving).catch((err: unknown) => putOff(item, err)) ?? isReceiving
      }
    } finally {
      await lease.release()
    }
  }

  async function itemsWithWork (): Promise<ObjectId[]> {
    const at = now()
    const uncounted = reports
      .find({ uncounted: true, created_at: { $lte: new Date(at.getTime() - COUNTED_AFTER_MS) } })
      .limit(MAX_IN_A_ROUND)
      .map(({ item }) => item)
    const due = states
      .find({ due_at: { $lte: at } })
      .sort({ due_at: 1 })
      .limit(MAX_IN_A_ROUND)
      .map(({ _id }) => _id)
    const all = [...await uncounted.toArray(), ...await due.toArray()]
    return [...new Map(all.map(item => [item.toHexString(), item])).values()]
  }

  /**
   * Counts, hides and tells what is to be told of an item. Resolves with whether the receiver takes messages: after one
   * that failed, no more are sent in this round.
   */
  async function finish (item: ObjectId, isReceiving: boolean): Promise<boolean> {
    const uncounted = await reports.find({ item, uncounted: true }, { projection: { _id: 1 } }).toArray()
    const state = await counts.judge(item)
    const row = await library.findOne({ _id: item })
    if (!row) {
      await forgetReports(item)
      return isReceiving
    }
    if (uncounted.length > 0) {
      await reports.updateMany({ _id: { $in: uncounted.map(({ _id }) => _id) } }, { $unset: { uncounted: '' } })
    }
    const events = dueEvents(state, row)
    if (events.length > 0 && !(isReceiving && state.due_at! <= now())) return isReceiving
    for (const [i, kind] of events.entries()) {
      if (!await tell(kind, i === 0 ? state : { ...state, failing: undefined }, row)) return false
    }
    await states.updateOne({ _id: item, version: state.version }, { $unset: { due_at: '' } })
    return isReceiving
  }

  function dueEvents (state: ReportStateDocument, row: LibraryDocument): EventKind[] {
    if (!deliver || state.open === 0) return []
    return [
      ...(state.reported_event_at ? [] : ['reported' as const]),
      ...(row.hidden === 'reports' && !state.hidden_event_at ? ['hidden' as const] : [])
    ]
  }

  /** Delivers an event and marks it. False if the receiver does not take it. */
  async function tell (kind: EventKind, state: ReportStateDocument, row: LibraryDocument): Promise<boolean> {
    try {
      await deliver!(eventOf(kind, state, row), stopping.signal)
    } catch (err) {
      if (!stopping.signal.aborted) await postpone(kind, state, err)
      return false
    }
    onDelivery('delivered')
    await mark(kind, state)
    return true
  }

  /** A review and a new report begin a new period, with events of its own. */
  async function mark (kind: EventKind, { _id, period }: ReportStateDocument): Promise<void> {
    await states.updateOne({ _id, period }, {
      $set: { [`${kind}_event_at`]: now() },
      $unset: { failing: '' }
    })
  }

  /** Sends the event again later. Gives it up after a day of failures. */
  async function postpone (kind: EventKind, state: ReportStateDocument, err: unknown): Promise<void> {
    const at = now()
    const { _id, period, failing: { since, times } = { since: at, times: 0 } } = state
    const id = _id.toHexString()
    if (at.getTime() - since.getTime() >= GIVE_UP_MS) {
      onDelivery('given_up')
      log.error({ event: 'webhook.given_up', id, err },
        'The moderators could not be told of a report for a day: see GET /library/reports, and check MODERATION_WEBHOOK_URL')
      return mark(kind, state)
    }
    onDelivery('failed')
    const pause = PAUSES_MS[Math.min(times, PAUSES_MS.length - 1)]!
    log.warn({ event: 'webhook.failed', id, err },
      `MODERATION_WEBHOOK_URL did not take a message to the moderators: it is sent again in ${pause / SECOND} s`)
    await states.updateOne({ _id, period }, {
      $set: { due_at: new Date(at.getTime() + pause), failing: { since, times: times + 1 } }
    })
  }

  /** Lets the other items of the round be finished. */
  async function putOff (_id: ObjectId, err: unknown): Promise<undefined> {
    log.error({ event: 'moderation.failed', id: _id.toHexString(), err },
      'The reports of an item could not be counted: it is tried again in a minute')
    await states.updateOne({ _id }, { $set: { due_at: new Date(now().getTime() + PUT_OFF_MS) } })
  }

  function eventOf (
    kind: EventKind,
    { _id, open, reasons, period, first_at: firstAt }: ReportStateDocument,
    { key, url, owner, hidden_at: hiddenAt }: LibraryDocument
  ): ModerationEvent {
    const itemId = _id.toHexString()
    return {
      id: `${period!}-${kind}`,
      body: {
        type: `item.${kind}`,
        timestamp: ((kind === 'hidden' && hiddenAt) || firstAt!).toISOString(),
        data: {
          item_id: itemId,
          owner_id: owner instanceof ObjectId ? owner.toHexString() : null,
          url: key ? media.url(key) : String(url ?? ''),
          count: open,
          reasons
        }
      }
    }
  }
}
