import { ObjectId } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import { titleWords } from '../../services/library/title-words.js'
import { insertRows } from './accounts.js'
import type { Service } from './service.js'
import { UPLOAD_RECORDS } from './service.js'

type WithApp = Pick<Service, 'app'>

/** The folder in the store of the items that `itemRow` makes. */
export const ITEM_FOLDER = 'library/7b0c1d5e-3a51-4a0c-9d8e-1f2a3b4c5d6e/'

/** This many milliseconds after the start of 2026. */
export const createdAt = (ms: number) => new Date(Date.UTC(2026, 0, 1) + ms)

/** A row of `library` of that time, with the words of its title. */
export const itemRow = (ms: number, fields: Partial<LibraryDocument> = {}): LibraryDocument =>
  ({
    _id: new ObjectId(),
    key: `${ITEM_FOLDER}original.gif`,
    user_id: 'u',
    type: 'gif',
    category: 'GIF',
    created_at: createdAt(ms),
    ...(fields.title !== undefined && { words: titleWords(fields.title) }),
    ...fields
  })

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
