import type { Collection, ObjectId } from 'mongodb'
import type { LibraryDocument, ReportDocument, ReportStateDocument } from '../../schemas/documents.js'
import type { createLease } from '../lease.js'
import type { Clock, Log, MediaStore } from '../ports.js'
import { settledWithin } from '../settled-within.js'
import type { ReportCounts } from './report-counts.js'

/** No request takes longer than this between a report and its count. */
const COUNTED_AFTER_MS = 30_000
const MAX_IN_A_ROUND = 100
const CLOSE_MS = 900
const SECOND = 1000
/** The pauses after a delivery that failed. The last one repeats for a day. */
const PAUSES_MS = [5, 30, 120, 600, 1800, 3600].map(seconds => seconds * SECOND)
const GIVE_UP_MS = 24 * 3600 * SECOND

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
    const items = [...await uncountedItems(), ...await dueItems()]
    for (const item of items) {
      if (stopping.signal.aborted || !await lease.hold()) return
      await finish(item)
    }
    if (items.length > 0) await lease.release()
  }

  async function uncountedItems (): Promise<ObjectId[]> {
    const before = new Date(now().getTime() - COUNTED_AFTER_MS)
    return reports
      .find({ uncounted: true, created_at: { $lte: before } })
      .limit(MAX_IN_A_ROUND)
      .map(({ item }) => item)
      .toArray()
  }

  async function dueItems (): Promise<ObjectId[]> {
    return states
      .find({ due_at: { $lte: now() } })
      .sort({ due_at: 1 })
      .limit(MAX_IN_A_ROUND)
      .map(({ _id }) => _id)
      .toArray()
  }

  async function finish (item: ObjectId): Promise<void> {
    const uncounted = await reports.find({ item, uncounted: true }, { projection: { _id: 1 } }).toArray()
    const state = await counts.judge(item)
    const row = await library.findOne({ _id: item }, { projection: { key: 1, url: 1, owner: 1, hidden: 1 } })
    if (!row) return forgetReports(item)
    if (uncounted.length > 0) {
      await reports.updateMany({ _id: { $in: uncounted.map(({ _id }) => _id) } }, { $unset: { uncounted: '' } })
    }
    for (const kind of dueEvents(state, row)) if (!await tell(kind, state, row)) return
    await states.updateOne({ _id: item, version: state.version }, { $unset: { due_at: '', failing: '' } })
  }

  function dueEvents (state: ReportStateDocument, row: LibraryDocument): Array<'reported' | 'hidden'> {
    if (!deliver || state.open === 0) return []
    return [
      ...(state.reported_event_at ? [] : ['reported' as const]),
      ...(row.hidden === 'reports' && !state.hidden_event_at ? ['hidden' as const] : [])
    ]
  }

  /** Delivers an event and marks it. False if it is to be tried again later. */
  async function tell (kind: 'reported' | 'hidden', state: ReportStateDocument, row: LibraryDocument): Promise<boolean> {
    const { _id, first_at: firstAt } = state
    const mark = { $set: { [`${kind}_event_at`]: now() }, $unset: { failing: '' as const } }
    const present = { _id, first_at: firstAt } // a review and a new report begin another event
    try {
      await deliver!(eventOf(kind, state, row), stopping.signal)
    } catch (err) {
      if (stopping.signal.aborted) return false
      if (await postpone(state, err)) return false
      await states.updateOne(present, mark)
      return true
    }
    onDelivery('delivered')
    await states.updateOne(present, mark)
    return true
  }

  /** False after a day of failures: the event is given up. */
  async function postpone ({ _id, version, failing }: ReportStateDocument, err: unknown): Promise<boolean> {
    const at = now()
    const { since, times } = failing ?? { since: at, times: 0 }
    const id = _id.toHexString()
    if (at.getTime() - since.getTime() >= GIVE_UP_MS) {
      onDelivery('given_up')
      log.error({ event: 'webhook.given_up', id, err },
        'The moderators could not be told of a report for a day: see GET /library/reports, and check MODERATION_WEBHOOK_URL')
      return false
    }
    onDelivery('failed')
    const pause = PAUSES_MS[Math.min(times, PAUSES_MS.length - 1)]!
    log.warn({ event: 'webhook.failed', id, err },
      `MODERATION_WEBHOOK_URL did not take a message to the moderators: it is sent again in ${pause / SECOND} s`)
    await states.updateOne({ _id, version }, {
      $set: { due_at: new Date(at.getTime() + pause), failing: { since, times: times + 1 } }
    })
    return true
  }

  function eventOf (
    kind: 'reported' | 'hidden',
    { _id, open, reasons, first_at: firstAt, last_at: lastAt }: ReportStateDocument,
    { key, url, owner }: LibraryDocument
  ): ModerationEvent {
    const itemId = _id.toHexString()
    return {
      id: `${itemId}-${firstAt!.getTime()}-${kind}`,
      body: {
        type: `item.${kind}`,
        timestamp: (kind === 'reported' ? firstAt! : lastAt!).toISOString(),
        data: {
          item_id: itemId,
          owner_id: owner?.toHexString() ?? null,
          url: key ? media.url(key) : String(url ?? ''),
          count: open,
          reasons
        }
      }
    }
  }
}
