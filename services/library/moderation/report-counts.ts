import { randomUUID } from 'node:crypto'
import type { Collection, ObjectId, UpdateFilter } from 'mongodb'
import type { ReportDocument, ReportStateDocument } from '../../../schemas/documents.js'
import type { ReportReason } from '../../../schemas/moderation.js'
import { isDuplicateKey } from '../../errors.js'
import type { Clock } from '../../ports.js'
import { retryConflict } from '../../retry.js'
import type { ItemHiding } from './hide-item.js'

export interface ReportCountsOptions {
  reports: Collection<ReportDocument>
  report_states: Collection<ReportStateDocument>
  hiding: Pick<ItemHiding, 'hideByReports'>
  /** This many reports hide an item; 0: none do. */
  reportsToHide: number
  now: Clock
}

const EVENTS = { reported_event_at: '', hidden_event_at: '', failing: '' } as const
const TIMES = { period: '', first_at: '', last_at: '', due_at: '' } as const

/** Open reports of one reason. */
interface Group { _id: ReportReason, count: number, counting: number, first: Date, last: Date }

export type ReportCounts = ReturnType<typeof createReportCounts>

/** The counts of open reports, one document for each item. */
export function createReportCounts ({
  reports,
  report_states: states,
  hiding,
  reportsToHide,
  now
}: ReportCountsOptions) {
  return { judge }

  /**
   * Counts the open reports of an item, stores the counts, and hides the item if there are enough. It can be repeated.
   * Of several at the same time each counts again until nobody came between (optimistic concurrency control). Resolves
   * with the stored state.
   */
  async function judge (item: ObjectId): Promise<ReportStateDocument> {
    const { state, counting } = await retryConflict('the reports of an item', () => recount(item))
    if (reportsToHide > 0 && counting >= reportsToHide) await hiding.hideByReports(item)
    return state
  }

  /** Undefined if another write came between. */
  async function recount (_id: ObjectId): Promise<{ state: ReportStateDocument, counting: number } | undefined> {
    const before = await states.findOne({ _id })
    const groups = await countOpen(_id)
    const update = updateOf(groups, before)
    try {
      const state = await states.findOneAndUpdate({ _id, version: before?.version ?? { $exists: false } }, update, {
        upsert: before === null,
        returnDocument: 'after'
      })
      return state ? { state, counting: sum(groups, 'counting') } : undefined
    } catch (error) {
      if (isDuplicateKey(error)) return undefined
      throw error
    }
  }

  function countOpen (item: ObjectId): Promise<Group[]> {
    return reports.aggregate<Group>([
      { $match: { item, open: true } },
      {
        $group: {
          _id: '$reason',
          count: { $sum: 1 },
          counting: { $sum: { $cond: ['$counts_for_hiding', 1, 0] } },
          first: { $min: '$created_at' },
          last: { $max: '$created_at' }
        }
      }
    ]).toArray()
  }

  function updateOf (groups: Group[], before: ReportStateDocument | null): UpdateFilter<ReportStateDocument> {
    const set = {
      version: randomUUID(),
      open: sum(groups, 'count'),
      reasons: Object.fromEntries(groups.map(({ _id: reason, count }) => [reason, count]))
    }
    if (groups.length === 0) return { $set: set, $unset: { ...EVENTS, ...TIMES } }
    const first = new Date(Math.min(...groups.map(({ first }) => first.getTime())))
    const last = new Date(Math.max(...groups.map(({ last }) => last.getTime())))
    // the earlier ones are closed, even if their review was not counted
    const isNewPeriod = !before?.first_at || before.first_at < first
    return {
      $set: {
        ...set,
        first_at: first,
        last_at: last,
        ...(isNewPeriod && { period: randomUUID() }),
        ...((isNewPeriod || !before.failing) && { due_at: now() })
      },
      ...(isNewPeriod && { $unset: EVENTS })
    }
  }
}

const sum = (groups: Group[], name: 'count' | 'counting') => groups.reduce((sum, group) => sum + group[name], 0)
