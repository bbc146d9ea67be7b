import { ObjectId, type Collection } from 'mongodb'
import type { LibraryDocument, ReportDocument } from '../../../schemas/documents.js'
import type { LibraryItem } from '../../../schemas/library.js'
import type { Review } from '../../../schemas/moderation.js'
import type { Caller, RequestContext } from '../../ports.js'
import type { ItemHiding } from './hide-item.js'
import { recordItemEvent } from '../permission.js'
import type { ReportCounts } from './report-counts.js'

export interface ReviewOptions {
  reports: Collection<ReportDocument>
  hiding: Pick<ItemHiding, 'hideByReview' | 'keep'>
  counts: Pick<ReportCounts, 'judge'>
  deleteItem: (id: string, caller: Caller, requestContext: RequestContext) => Promise<void>
  toItem: (row: LibraryDocument) => LibraryItem
}

/** The decisions of admins on items. The calling code has checked that the caller is an admin. */
export function createReview ({ reports, hiding, counts, deleteItem, toItem }: ReviewOptions) {
  return { review }

  /**
   * Keeps, hides or removes an item, and closes its open reports. Resolves with the item, or with undefined after a
   * removal. If it is cut off, the reports are still open, or the moderation worker counts them. 404.
   */
  async function review (
    id: string,
    { decision }: Review,
    caller: Caller,
    requestContext: RequestContext
  ): Promise<LibraryItem | undefined> {
    if (decision === 'remove') return deleteItem(id, caller, requestContext).then(() => undefined)
    const item = new ObjectId(id)
    const row = await (decision === 'keep' ? hiding.keep(item) : hiding.hideByReview(item))
    recordItemEvent('library.reviewed', row, caller, requestContext, { decision })
    await reports.updateMany({ item, open: true }, { $unset: { open: '' }, $set: { uncounted: true } })
    await counts.judge(item)
    await reports.updateMany({ item, open: { $exists: false }, uncounted: true }, { $unset: { uncounted: '' } })
    return toItem(row)
  }
}
