import type { Collection, ObjectId } from 'mongodb'
import type { ReportDocument, ReportStateDocument } from '../../../schemas/documents.js'

export interface ForgetReportsOptions {
  reports: Collection<ReportDocument>
  report_states: Collection<ReportStateDocument>
}

/**
 * Deletes the reports of an item that is gone, then their counts, by which the queue finds what is left. It can be
 * repeated.
 */
export function createForgetReports ({ reports, report_states: states }: ForgetReportsOptions) {
  return async function forgetReports (item: ObjectId): Promise<void> {
    await reports.deleteMany({ item })
    await states.deleteOne({ _id: item })
  }
}
