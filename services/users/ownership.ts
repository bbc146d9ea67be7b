import type { Collection, ObjectId, UpdateFilter } from 'mongodb'
import type {
  IdempotencyDocument,
  LibraryDocument,
  ReportDocument,
  UploadDocument,
  UsageDocument,
  UserDocument
} from '../../schemas/documents.js'
import type { Ownership } from '../ports.js'

/** Each row has seven indexes: a slow database must update this many within the time of one command. */
const BATCH_ROWS = 100
const FORMER_OWNER = 'deleted'
const DISOWN: UpdateFilter<LibraryDocument> = { $unset: { owner: '' }, $set: { user_id: FORMER_OWNER } }

export interface OwnershipOptions {
  users: Collection<UserDocument>
  uploads: Collection<UploadDocument>
  library: Collection<LibraryDocument>
  idempotency: Collection<IdempotencyDocument>
  usage: Collection<UsageDocument>
  reports: Collection<ReportDocument>
}

/** The data of an account, and its fate when the account is deleted. Everything here can be repeated. */
export function createOwnership ({
  users,
  uploads,
  library,
  idempotency,
  usage,
  reports
}: OwnershipOptions): Ownership {
  return { checkOwner, disownAll }

  /**
   * The last step after an insert: an item without its account loses its owner. A later deletion of the account finds
   * the item; an earlier one is found here.
   */
  async function checkOwner (item: LibraryDocument): Promise<LibraryDocument> {
    const { _id, owner, ...rest } = item
    if (owner === undefined ||
      await users.findOne({ _id: owner, deleting: { $exists: false } }, { projection: { _id: 1 } })) {
      return item
    }
    await library.updateOne({ _id, owner }, DISOWN)
    return { _id, ...rest, user_id: FORMER_OWNER }
  }

  /** Items, upload records and reports stay, without the account; keys and usage go. */
  async function disownAll (owner: ObjectId): Promise<void> {
    await uploads.updateMany({ owner }, { $unset: { owner: '' } })
    await disown(owner)
    await idempotency.deleteMany({ owner })
    await usage.deleteOne({ _id: owner })
    await reports.updateMany({ account: owner }, { $unset: { account: '' }, $set: { counts_for_hiding: false } })
  }

  /** Batches, so that no write takes longer than the driver waits. */
  async function disown (owner: ObjectId): Promise<void> {
    for (;;) {
      const rows = await library
        .find({ owner }, { projection: { _id: 1 }, limit: BATCH_ROWS })
        .toArray()
      if (rows.length > 0) await library.updateMany({ owner, _id: { $in: rows.map(({ _id }) => _id) } }, DISOWN)
      if (rows.length < BATCH_ROWS) return
    }
  }
}
