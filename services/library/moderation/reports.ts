import { ObjectId, type Collection } from 'mongodb'
import type { LibraryDocument, ReportDocument, UserDocument } from '../../../schemas/documents.js'
import type { Report } from '../../../schemas/moderation.js'
import type { Accounts } from '../../accounts.js'
import { invalidField, invalidToken, itemNotFound, ownItem, sentences, tooManyReports } from '../../errors.js'
import { insertIfAbsent } from '../../insert-if-absent.js'
import type { Caller, Clock, RequestContext } from '../../ports.js'
import { storedTime } from '../../stored-time.js'
import { isOwner } from '../permission.js'
import type { ReportCounts } from './report-counts.js'

const DAY_MS = 24 * 3600 * 1000
const MAX_REPORTS_A_DAY = 50
/** Reported items that an account's lists leave out. */
const MAX_REPORTED = 500

export interface ReportsOptions {
  library: Collection<LibraryDocument>
  users: Collection<UserDocument>
  reports: Collection<ReportDocument>
  accounts: Pick<Accounts, 'forget'>
  counts: Pick<ReportCounts, 'judge'>
  /** Whether others know the code of a number: the reports of its account hide nothing. */
  isTestNumber: (phone: string) => boolean
  now: Clock
}

/** Reports of items, by the people who see them. */
export function createReports ({ library, users, reports, accounts, counts, isTestNumber, now }: ReportsOptions) {
  return { report }

  /**
   * Reports an item once for each account. From then on the caller's lists leave it out. Enough reports hide it. A
   * repeated report adds none, but finishes one that was cut off. 400, 403 for the owner, 404, 429 beyond 50 in 24 h.
   */
  async function report (
    id: string,
    { reason, comment = '' }: Report,
    caller: Caller,
    requestContext: RequestContext
  ): Promise<void> {
    if (/\p{Cs}/u.test(comment)) throw invalidField('comment', sentences.value) // would be stored as another character
    const item = new ObjectId(id)
    const row = await library.findOne({ _id: item }, { projection: { owner: 1, hidden: 1 } })
    if (!row || row.hidden) throw itemNotFound()
    if (isOwner(row, caller)) throw ownItem()
    const { account } = caller
    const own = { item, account: account._id }
    const present = await reports.findOne(own, { projection: { uncounted: 1 } })
    if (present && !present.uncounted) return
    if (!present) await note(account, item)
    const isNew = !present && await insertIfAbsent(reports, {
      _id: new ObjectId(),
      ...own,
      reason,
      ...(comment.trim() !== '' && { comment }),
      created_at: now(),
      open: true,
      counts_for_hiding: mayHide(caller),
      uncounted: true
    })
    if (isNew) requestContext.record('library.reported', account, { id, reason })
    await counts.judge(item)
    await reports.updateOne(own, { $unset: { uncounted: '' } })
  }

  /** Writes the item and the time into the caller's row, once, and so keeps the bound of a day. */
  async function note ({ _id, number, reported }: UserDocument, item: ObjectId): Promise<void> {
    if (reported?.some(other => other.equals(item))) return
    const at = now()
    const { matchedCount } = await users.updateOne({
      _id,
      deleting: { $exists: false },
      reported: { $ne: item },
      $or: [
        { [`report_times.${MAX_REPORTS_A_DAY - 1}`]: { $exists: false } },
        { 'report_times.0': { $lte: new Date(at.getTime() - DAY_MS) } }
      ]
    }, {
      $push: {
        reported: { $each: [item], $slice: -MAX_REPORTED },
        report_times: { $each: [at], $slice: -MAX_REPORTS_A_DAY }
      }
    })
    accounts.forget({ _id, number })
    if (matchedCount === 0) await explainRefusal(_id, item, at)
  }

  /** Returns if the item is noted already. 401, 429. */
  async function explainRefusal (_id: ObjectId, item: ObjectId, at: Date): Promise<void> {
    const account = await users.findOne({ _id, deleting: { $exists: false } })
    if (!account) throw invalidToken()
    if (account.reported?.some(other => other.equals(item))) return
    const oldest = account.report_times?.[0] ?? at
    throw tooManyReports(Math.max(1, Math.ceil((oldest.getTime() + DAY_MS - at.getTime()) / 1000)))
  }

  /** No report hides anything that comes from an account made for it, or from one that others can sign in to. */
  function mayHide ({ account: { _id, number = '', created_on: createdOn }, session }: Caller): boolean {
    const isOldEnough = now().getTime() - storedTime(createdOn, _id).getTime() >= DAY_MS
    return isOldEnough && !session.legacy && !isTestNumber(number)
  }
}
