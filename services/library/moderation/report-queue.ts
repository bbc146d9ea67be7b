import { ObjectId, type Collection, type Filter } from 'mongodb'
import pLimit from 'p-limit'
import type { LibraryDocument, ReportDocument, ReportStateDocument } from '../../../schemas/documents.js'
import type { LibraryItem } from '../../../schemas/library.js'
import type { ReportComment, ReportedItem, ReportPage, ReportQuery } from '../../../schemas/moderation.js'
import { invalidField, sentences } from '../../errors.js'
import { PRIVATE_FIELDS } from '../item.js'

const MAX_PER_PAGE = 100
const DEFAULT_PER_PAGE = 20
const MAX_COMMENTS = 20
/** Reads at the same time, so that a page does not take the whole pool of connections. */
const MAX_READS = 10

export interface ReportQueueOptions {
  library: Collection<LibraryDocument>
  reports: Collection<ReportDocument>
  report_states: Collection<ReportStateDocument>
  forgetReports: (item: ObjectId) => Promise<void>
  toItem: (row: LibraryDocument) => LibraryItem
}

/** A state with open reports. */
type OpenState = ReportStateDocument & Required<Pick<ReportStateDocument, 'first_at' | 'last_at'>>

/** The items with open reports, for admins. */
export function createReportQueue ({
  library,
  reports,
  report_states: states,
  forgetReports,
  toItem
}: ReportQueueOptions) {
  return { listReported }

  /**
   * One page, most reported first. An entry whose count changes meanwhile may come twice, or be missed in one walk. The
   * reports of an item that is gone go, too. 400.
   */
  async function listReported ({ limit = DEFAULT_PER_PAGE, cursor }: ReportQuery): Promise<ReportPage> {
    const size = Math.min(limit, MAX_PER_PAGE)
    const found = await states
      .find(cursor === undefined ? { open: { $gt: 0 } } : afterCursor(cursor))
      .sort({ open: -1, _id: 1 })
      .limit(size + 1)
      .toArray() as OpenState[]
    const page = found.slice(0, size)
    const ids = page.map(({ _id }) => _id)
    const rows = await library.find({ _id: { $in: ids } }, { projection: PRIVATE_FIELDS }).toArray()
    const items = new Map(rows.map(row => [row._id.toHexString(), row]))
    const entries = await pLimit(MAX_READS).map(page, state => entryOf(state, items.get(state._id.toHexString())))
    return {
      reports: entries.filter(entry => entry !== undefined),
      next_cursor: found.length > size ? cursorAfter(page.at(-1)!) : null
    }
  }

  async function entryOf (state: OpenState, row?: LibraryDocument): Promise<ReportedItem | undefined> {
    if (!row) {
      await forgetReports(state._id)
      return undefined
    }
    return {
      item: toItem(row),
      count: state.open,
      reasons: state.reasons,
      first_at: state.first_at.toISOString(),
      last_at: state.last_at.toISOString(),
      comments: await commentsOn(state._id)
    }
  }

  function commentsOn (item: ObjectId): Promise<ReportComment[]> {
    return reports
      .find({ item, open: true, comment: { $gt: '' } })
      .sort({ created_at: -1 })
      .limit(MAX_COMMENTS)
      .map(({ reason, comment = '', created_at: at }) => ({ reason, text: comment, created_at: at.toISOString() }))
      .toArray()
  }
}

const cursorAfter = ({ open, _id }: ReportStateDocument) =>
  Buffer.from(`${open}.${_id.toHexString()}`).toString('base64url')

function afterCursor (cursor: string): Filter<ReportStateDocument> {
  const [, open, id] = /^([1-9]\d{0,8})\.([0-9a-f]{24})$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  if (open === undefined || id === undefined) throw invalidField('cursor', sentences.value)
  return { $or: [{ open: { $gt: 0, $lt: Number(open) } }, { open: Number(open), _id: { $gt: new ObjectId(id) } }] }
}
