import { randomUUID } from 'node:crypto'
import type { Collection, ObjectId, UpdateFilter } from 'mongodb'
import type { ReportDocument, ReportStateDocument } from '../../schemas/documents.js'
import type { ReportReason } from '../../schemas/moderation.js'
import { isDuplicateKey } from '../errors.js'
import type { Clock } from '../ports.js'
import { retryConflict } from '../retry.js'
import type { ItemHiding } from './hide-item.js'

export interface ReportCountsOptions {
  reports: Collection<ReportDocument>
  report_states: Collection<ReportStateDocument>
  hiding: Pick<ItemHiding, 'hideByReports'>
  /** This many reports hide an item; 0: none do. */
  reportsToHide: number
  now: Clock
}

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
    const update = updateOf(groups, before === null || before.open === 0)
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

  /** `isFirst`: nothing was open before, so that events are due again. */
  function updateOf (groups: Group[], isFirst: boolean): UpdateFilter<ReportStateDocument> {
    const open = sum(groups, 'count')
    const marks = { reported_event_at: '', hidden_event_at: '', failing: '' } as const
    return {
      $set: {
        version: randomUUID(),
        open,
        reasons: Object.fromEntries(groups.map(({ _id: reason, count }) => [reason, count])),
        ...(open > 0 && {
          first_at: new Date(Math.min(...groups.map(({ first }) => first.getTime()))),
          last_at: new Date(Math.max(...groups.map(({ last }) => last.getTime()))),
          due_at: now()
        })
      },
      ...(open === 0
        ? { $unset: { ...marks, first_at: '', last_at: '', due_at: '' } as const }
        : isFirst && { $unset: marks })
    }
  }
}

const sum = (groups: Group[], name: 'count' | 'counting') => groups.reduce((sum, group) => sum + group[name], 0)
