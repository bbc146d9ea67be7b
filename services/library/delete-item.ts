import { ObjectId, type Collection, type Filter } from 'mongodb'
import type { IdempotencyDocument, LibraryDocument, UploadDocument, UploadKey } from '../../schemas/documents.js'
import { foreignItem, isDuplicateKey, itemNotFound } from '../errors.js'
import type { Caller, Clock, Log, MediaStore, RequestContext } from '../ports.js'
import { folderOf, isItemFolder } from './item-objects.js'

const FROM_PRIMARY = { readPreference: 'primary' } as const

export interface ItemDeletionOptions {
  uploads: Collection<UploadDocument>
  media: MediaStore
  now: Clock
}

/**
 * Removes items so that a crash between any two steps leaves nothing for good: a row of `uploads` says what is to go
 * before the item does,
 * and stays until its objects are gone; what is interrupted a sweep finishes.
 */
export function createItemDeletion ({ uploads, media, now }: ItemDeletionOptions) {
  return { begin, cancel, finish }

  /**
   * Notes that the item is to go, over whatever else its row says: an upload that is just being committed has lost it
   * then.
   */
  async function begin ({ _id, key = '', owner }: LibraryDocument): Promise<void> {
    const note = {
      $set: { key, state: 'removing' as const, started_at: now(), ...(owner !== undefined && { owner }) },
      ...(owner === undefined && { $unset: { owner: '' as const } })
    }
    try {
      await uploads.updateOne({ _id }, note, { upsert: true })
    } catch (error) {
      if (!isDuplicateKey(error)) throw error
      await uploads.updateOne({ _id }, note) // somebody else has noted it at the same moment
    }
  }

  /** For an item that is not to go after all. */
  async function cancel ({ _id }: LibraryDocument): Promise<void> {
    await uploads.deleteOne({ _id, state: 'removing' })
  }

  /** Removes the objects of an item whose row is gone, and the note. */
  async function finish ({ _id, key = '' }: LibraryDocument): Promise<void> {
    if (isItemFolder(folderOf(key))) await media.remove(folderOf(key))
    await uploads.deleteOne({ _id, state: 'removing' })
  }
}

export interface RemovalOptions extends ItemDeletionOptions {
  library: Collection<LibraryDocument>
  idempotency: Collection<IdempotencyDocument>
  isAdmin: (caller: Caller) => boolean
}

/** Items that go because somebody wants them to. */
export function createRemoval ({ library, idempotency, isAdmin, ...stores }: RemovalOptions) {
  const removal = createItemDeletion(stores)
  return { remove }

  /**
   * Removes an item for its owner or an admin, and its objects with it; those that the store does not give up now go by
   * themselves later.
   * An item without an owner is for admins alone, and one of the replaced system loses its row only: others may share
   * its object. 403, 404.
   */
  async function remove (id: string, caller: Caller, requestContext: RequestContext): Promise<void> {
    const item = await library.findOne({ _id: new ObjectId(id) }, FROM_PRIMARY)
    if (!item) throw itemNotFound()
    permit(item, caller, requestContext)
    if (item.key) await removal.begin(item)
    if (!await removeRow(item)) return again(item, caller, requestContext)
    requestContext.record('library.removed', item.owner ? { _id: item.owner } : null, {
      id,
      ...(!isOwner(item, caller) && { by: caller.account._id.toHexString() })
    })
    if (item.upload_key) await freeKey(item.upload_key)
    if (item.key) await removeObjects(item, requestContext.log)
  }

  /**
   * The same request may be made anew, also where its first answer was never remembered. If it fails the key is free a
   * little later.
   */
  async function freeKey ({ digest }: UploadKey): Promise<void> {
    await idempotency.deleteOne({ _id: digest, answer: { $exists: false } }).catch(() => {})
  }

  function permit (item: LibraryDocument, caller: Caller, requestContext: RequestContext): void {
    if (isOwner(item, caller) || isAdmin(caller)) return
    requestContext.record('access.denied', caller.account, { reason: 'foreign item' })
    throw foreignItem()
  }

  /** Whether the item was still there and had the owner that was asked about. */
  async function removeRow ({ _id, owner }: LibraryDocument): Promise<boolean> {
    const {
      deletedCount
    } = await library.deleteOne({ _id, owner: owner ?? { $exists: false } } as Filter<LibraryDocument>)
    return deletedCount === 1
  }

  /** The item went, or changed hands, after it was looked at. */
  async function again (item: LibraryDocument, caller: Caller, requestContext: RequestContext): Promise<void> {
    if (await library.findOne({ _id: item._id }, FROM_PRIMARY)) {
      if (item.key) await removal.cancel(item)
      return remove(item._id.toHexString(), caller, requestContext)
    }
    if (item.key) await removeObjects(item, requestContext.log)
  }

  async function removeObjects (item: LibraryDocument, log: Log): Promise<void> {
    await removal.finish(item).catch((err: unknown) => log.warn({ event: 'upload.cleanup_failed', key: item.key, err }))
  }
}

const isOwner = ({ owner }: LibraryDocument, { account }: Caller) => owner instanceof ObjectId &&
  owner.equals(account._id)
