import { ObjectId } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import { insertRows } from './accounts.js'
import type { Service } from './service.js'
import { UPLOAD_RECORDS } from './service.js'

type WithApp = Pick<Service, 'app'>

/** The row of an item; null without one. */
export const findItem = ({ app }: WithApp, id: string) => app.collections.library.findOne({ _id: new ObjectId(id) })

/** Inserts `count` items; `member` gives what one has besides the members that every item has. */
export async function insertItems (
  { app }: WithApp,
  count: number,
  member: (i: number) => Partial<LibraryDocument> & Pick<LibraryDocument, 'created_at'>
): Promise<void> {
  await insertRows(app.collections.library, Array.from({ length: count }, (_, i): LibraryDocument => ({
    _id: new ObjectId(),
    key: `library/${i}/original.gif`,
    user_id: 'meera',
    type: 'gif',
    category: 'GIF',
    ...member(i)
  })))
}

/** The number of upload records. */
export const countUploads = ({ app }: WithApp) => app.collections.uploads.countDocuments(UPLOAD_RECORDS)

/** The number of answers that are kept for an account's Idempotency-Keys. */
export const countIdempotencyKeys = ({ app }: WithApp, ownerId: string) =>
  app.collections.idempotency.countDocuments({ owner: new ObjectId(ownerId) })
