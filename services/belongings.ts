import type { Collection, Filter, UpdateFilter } from 'mongodb'
import type { LibraryDocument, UploadDocument } from '../schemas/documents.js'

const AT_ONCE = 1000
const FORMER_OWNER = 'deleted'

/**
 * What a phone owns: uploads in flight and items of the library. Uploads always go first: an upload that becomes an item meanwhile
 * looks at its row last (services/upload.ts). Everything here can be repeated.
 */
export function createBelongings ({ uploads, library }: { uploads: Collection<UploadDocument>, library: Collection<LibraryDocument> }) {
  return {
    /** What `from` began to upload until `before`, or later by one of these sessions, is `to`'s from now on: they may have been `from`'s a little longer. */
    async move (from: string, to: string, before: Date, sessions: string[]): Promise<void> {
      const byThem = { session: { $in: sessions } }
      await uploads.updateMany({ owner: from, $or: [{ started_at: { $lte: before } }, byThem] }, { $set: { owner: to } })
      await inBatches({ owner: from, $or: [{ created_at: { $lte: before } }, { started_at: { $lte: before } }, byThem] }, ownership(to))
    },

    /** Everything of `owner` stays, and is nobody's. */
    async release (owner: string): Promise<void> {
      await uploads.updateMany({ owner }, { $unset: { owner: '' } })
      await inBatches({ owner }, ownership(undefined))
    }
  }

  /** A few at a time, so that no write takes longer than the driver waits. What has changed must match no more. */
  async function inBatches (filter: Filter<LibraryDocument>, change: UpdateFilter<LibraryDocument>): Promise<void> {
    for (;;) {
      const rows = await library.find(filter, { projection: { _id: 1 }, limit: AT_ONCE, readPreference: 'primary' }).toArray()
      if (rows.length > 0) await library.updateMany({ ...filter, _id: { $in: rows.map(({ _id }) => _id) } }, change)
      if (rows.length < AT_ONCE) return
    }
  }
}

/** Makes an item somebody's; without an owner it is nobody's, and labelled so. */
export const ownership = (owner: string | undefined): UpdateFilter<LibraryDocument> =>
  owner === undefined ? { $unset: { owner: '' }, $set: { user_id: FORMER_OWNER } } : { $set: { owner } }

/** An item as `ownership` leaves it. */
export const owned = ({ owner: _, ...item }: LibraryDocument, owner: string | undefined): LibraryDocument =>
  owner === undefined ? { ...item, user_id: FORMER_OWNER } : { ...item, owner }
