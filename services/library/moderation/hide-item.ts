import type { Collection, ObjectId } from 'mongodb'
import type { LibraryDocument, UserDocument } from '../../../schemas/documents.js'
import type { Accounts } from '../../accounts.js'
import { itemNotFound } from '../../errors.js'
import type { Clock, RequestContext } from '../../ports.js'

export interface HideItemOptions {
  library: Collection<LibraryDocument>
  users: Collection<UserDocument>
  accounts: Pick<Accounts, 'forget'>
  /** Records an event without naming the request, because the owner must not learn who reported. Waits for its row. */
  recordEvent: (...event: Parameters<RequestContext['record']>) => Promise<void>
  now: Clock
}

export type ItemHiding = ReturnType<typeof createItemHiding>

/** Hides items from everybody but their owners and admins, and shows them again. */
export function createItemHiding ({ library, users, accounts, recordEvent, now }: HideItemOptions) {
  return { hideByReports, hideByReview, keep }

  /**
   * Hides an item, unless it is hidden already or a review has kept it. An update that finds it hidden makes a new
   * version of the library all the same: the process that hid it may have died before.
   */
  async function hideByReports (_id: ObjectId): Promise<void> {
    const row = await library.findOne({ _id }, { projection: { owner: 1, hidden: 1, kept: 1 } })
    if (!row || row.kept) return
    if (!row.hidden) await noteForOwner(row)
    const { matchedCount } = await library.updateOne(
      { _id, hidden: { $exists: false }, kept: { $exists: false } },
      { $set: { hidden: 'reports', hidden_at: now() } }
    )
    if (matchedCount === 0) return
    await recordEvent('library.hidden', row.owner ? { _id: row.owner } : null, {
      id: _id.toHexString(),
      reason: 'reports'
    })
  }

  /** 404. */
  async function hideByReview (_id: ObjectId): Promise<LibraryDocument> {
    await noteForOwner(await get(_id))
    await library.updateOne({ _id }, { $set: { hidden: 'review', hidden_at: now() } })
    return get(_id)
  }

  /** Shows an item. Reports hide it no more. 404. */
  async function keep (_id: ObjectId): Promise<LibraryDocument> {
    await library.updateOne({ _id }, { $set: { kept: true }, $unset: { hidden: '', hidden_at: '' } })
    return get(_id)
  }

  async function get (_id: ObjectId): Promise<LibraryDocument> {
    const row = await library.findOne({ _id })
    if (!row) throw itemNotFound()
    return row
  }

  /** Before the item is hidden, so that its owner goes on to see it. */
  async function noteForOwner ({ owner }: LibraryDocument): Promise<void> {
    if (!owner) return
    const account = await users.findOneAndUpdate({ _id: owner }, { $set: { has_hidden: now() } })
    if (account) accounts.forget(account)
  }
}
