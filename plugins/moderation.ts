import fp from 'fastify-plugin'
import { createForgetReports } from '../services/library/moderation/forget-reports.js'
import { createHiddenOwners } from '../services/library/moderation/hidden-owners.js'
import { createItemHiding } from '../services/library/moderation/hide-item.js'
import { createReportCounts, type ReportCounts } from '../services/library/moderation/report-counts.js'
import { createReportQueue } from '../services/library/moderation/report-queue.js'
import { createReports } from '../services/library/moderation/reports.js'
import { createReview } from '../services/library/moderation/review.js'
import { withinDeadline } from '../services/request-deadline.js'

declare module 'fastify' {
  interface FastifyInstance {
    moderation: ReturnType<typeof createReports> &
      ReturnType<typeof createReview> &
      ReturnType<typeof createReportQueue> & {
        counts: ReportCounts
        forgetReports: ReturnType<typeof createForgetReports>
        clearFormerOwners: ReturnType<typeof createHiddenOwners>
      }
  }
}

/** `app.moderation`: reports of items, and what admins make of them. */
export default fp(async function moderation (app) {
  const { accounts, audit, collections, config, library: { deleteItem, toItem }, now, roles } = app
  const hiding = createItemHiding({
    ...collections,
    accounts,
    recordEvent: (...event) => {
      app.recordEvent(...event)
      return withinDeadline(() => audit.flush())
    },
    now
  })
  const counts = createReportCounts({ ...collections, hiding, reportsToHide: config.REPORTS_TO_HIDE, now })
  const forgetReports = createForgetReports(collections)
  app.decorate('moderation', {
    ...createReports({ ...collections, accounts, counts, isTestNumber: roles.isTestNumber, now }),
    ...createReview({ ...collections, hiding, counts, deleteItem, toItem }),
    ...createReportQueue({ ...collections, forgetReports, toItem }),
    counts,
    forgetReports,
    clearFormerOwners: createHiddenOwners({ ...collections, now })
  })
}, { name: 'moderation', dependencies: ['env', 'clock', 'mongo', 'accounts', 'audit', 'library', 'roles'] })
