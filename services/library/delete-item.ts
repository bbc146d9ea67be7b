import { ObjectId, type Collection, type Filter } from 'mongodb'
import type { IdempotencyDocument, LibraryDocument, UploadDocument, UploadKey } from '../../schemas/documents.js'
import { foreignItem, isDuplicateKey, itemNotFound } from '../errors.js'
import type { Caller, Clock, Log, MediaStore, RequestContext } from '../ports.js'
import { folderOf, isItemFolder } from './object-keys.js'

export interface ItemDeletionOptions {
  uploads: Collection<UploadDocument>
  media: MediaStore
  now: Clock
}

/**
 * Removes items so that a crash between any two steps leaves nothing behind for good. An upload record is written
 * before the item goes, and stays until its objects are gone. A sweep finishes an interrupted removal.
 */
export function createItemDeletion ({ uploads, media, now }: ItemDeletionOptions) {
  return { begin, cancel, finish }

  /**
   * Writes the upload record of a removal, over any other state of it. An upload that is being committed loses the
   * item.
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
      await uploads.updateOne({ _id }, note) // another request wrote it at the same moment
    }
  }

  /** Deletes the upload record of a removal that is called off. */
  async function cancel ({ _id }: LibraryDocument): Promise<void> {
    await uploads.deleteOne({ _id, state: 'removing' })
  }

  /** Removes the objects of an item whose row is gone, then the upload record. */
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

/** Removes items at a caller's request. */
export function createRemoval ({ library, idempotency, isAdmin, ...stores }: RemovalOptions) {
  const removal = createItemDeletion(stores)
  return { remove }

  /**
   * Removes an item and its objects for its owner or an admin. A sweep later removes objects that the store does not
   * give up now. Only admins may remove an item without an owner. An item of the replaced system loses its row only,
   * because others may share its object. 403, 404.
   */
  async function remove (id: string, caller: Caller, requestContext: RequestContext): Promise<void> {
    const item = await library.findOne({ _id: new ObjectId(id) })
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
   * Frees the key, so that the same request can be made anew even if its first answer was never stored. If this fails,
   * the key is free a little later.
   */
  async function freeKey ({ digest }: UploadKey): Promise<void> {
    await idempotency.deleteOne({ _id: digest, answer: { $exists: false } }).catch(() => {})
  }

  function permit (item: LibraryDocument, caller: Caller, requestContext: RequestContext): void {
    if (isOwner(item, caller) || isAdmin(caller)) return
    requestContext.record('access.denied', caller.account, { reason: 'foreign item' })
    throw foreignItem()
  }

  /** False if the item is gone or no longer has the expected owner. */
  async function removeRow ({ _id, owner }: LibraryDocument): Promise<boolean> {
    const { deletedCount } = await library.deleteOne(
      { _id, owner: owner ?? { $exists: false } } as Filter<LibraryDocument>
    )
    return deletedCount === 1
  }

  /** Handles an item that went or changed its owner after it was read. */
  async function again (item: LibraryDocument, caller: Caller, requestContext: RequestContext): Promise<void> {
    if (await library.findOne({ _id: item._id })) {
      if (item.key) await removal.cancel(item)
      return remove(item._id.toHexString(), caller, requestContext)
    }
    if (item.key) await removeObjects(item, requestContext.log)
  }

  async function removeObjects (item: LibraryDocument, log: Log): Promise<void> {
    await removal.finish(item).catch((err: unknown) => {
      log.warn(
        { event: 'upload.cleanup_failed', key: item.key, err },
        'The objects of a deleted item stay until a sweep'
      )
    })
  }
}

const isOwner = ({ owner }: LibraryDocument, { account }: Caller) => owner instanceof ObjectId &&
  owner.equals(account._id)
