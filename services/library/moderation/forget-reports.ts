import type { Collection, ObjectId } from 'mongodb'
import type { ReportDocument, ReportStateDocument } from '../../../schemas/documents.js'

export interface ForgetReportsOptions {
  reports: Collection<ReportDocument>
  report_states: Collection<ReportStateDocument>
}

/** Deletes the reports of an item that is gone, and their counts. It can be repeated, and then deletes what is left. */
export function createForgetReports ({ reports, report_states: states }: ForgetReportsOptions) {
  return async function forgetReports (item: ObjectId): Promise<void> {
    await Promise.all([reports.deleteMany({ item }), states.deleteOne({ _id: item })])
  }
}
