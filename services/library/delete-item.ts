import { ObjectId, type Collection } from 'mongodb'
import type { IdempotencyDocument, LibraryDocument, UploadDocument, UploadKey } from '../../schemas/documents.js'
import { isDuplicateKey, itemNotFound } from '../errors.js'
import type { Caller, Clock, Log, MediaStore, RequestContext } from '../ports.js'
import { retryConflict } from '../retry.js'
import { folderOf, folderOfOldItem, isItemFolder, isRootKey } from './object-keys.js'
import { recordItemEvent, requirePermission, withSameOwner } from './permission.js'
import { createForgetReports } from './moderation/forget-reports.js'
import { createObjectRemoval, type ObjectRemovalOptions } from './remove-objects.js'
import type { LibraryStates } from './state.js'

export interface DeletionRecordsOptions extends ObjectRemovalOptions {
  uploads: Collection<UploadDocument>
  now: Clock
}

/**
 * The upload records of deletions: a crash between any two steps leaves nothing behind for good. A record is written
 * before the item goes, and stays until its objects are gone. A sweep finishes an interrupted deletion.
 */
export function createDeletionRecords ({ uploads, now, ...stores }: DeletionRecordsOptions) {
  const removeObjects = createObjectRemoval(stores)
  return { begin, cancel, finish }

  /**
   * Writes the upload record of a deletion, over any other state of it. An upload that is being committed loses the
   * item.
   */
  async function begin ({ _id, key = '', owner }: LibraryDocument): Promise<void> {
    const record = {
      $set: { key, state: 'removing' as const, started_at: now(), ...(owner !== undefined && { owner }) },
      ...(owner === undefined && { $unset: { owner: '' as const } })
    }
    try {
      await uploads.updateOne({ _id }, record, { upsert: true })
    } catch (error) {
      if (!isDuplicateKey(error)) throw error
      await uploads.updateOne({ _id }, record) // another request wrote it at the same moment
    }
  }

  /** Deletes the upload record of a deletion that is called off. */
  async function cancel ({ _id }: LibraryDocument): Promise<void> {
    await uploads.deleteOne({ _id, state: 'removing' })
  }

  /** Deletes the objects of an item whose row is gone, then the upload record. */
  async function finish ({ _id, key = '' }: LibraryDocument): Promise<void> {
    await removeObjects(_id, key)
    await uploads.deleteOne({ _id, state: 'removing' })
  }
}

export interface ItemDeletionOptions extends DeletionRecordsOptions {
  media: Pick<MediaStore, 'remove' | 'removeObject' | 'urlsOf' | 'keyOf'>
  idempotency: Collection<IdempotencyDocument>
  isAdmin: (caller: Caller) => boolean
  states: Pick<LibraryStates, 'changed'>
}

/** Deletes items at a caller's request. */
export function createItemDeletion ({ idempotency, isAdmin, states, ...stores }: ItemDeletionOptions) {
  const { library, media } = stores
  const records = createDeletionRecords(stores)
  const forgetReports = createForgetReports(stores)
  return { deleteItem }

  /**
   * Deletes an item and its objects for its owner or an admin. A sweep later deletes objects that the store does not
   * give up now. Only admins may delete an item without an owner. The object of an item of the replaced system
   * goes if it lies at the root of this bucket and no other row names it. 403, 404.
   */
  async function deleteItem (id: string, caller: Caller, requestContext: RequestContext): Promise<void> {
    const _id = new ObjectId(id)
    const item = await retryConflict('a library item', () => deleteRow(_id, caller, requestContext))
    await deleteRest(item, requestContext.log)
  }

  /**
   * The item whose row is gone, deleted here or by another request at the same moment. Undefined if its owner changed
   * after it was read.
   */
  async function deleteRow (
    _id: ObjectId,
    caller: Caller,
    requestContext: RequestContext
  ): Promise<LibraryDocument | undefined> {
    const row = await library.findOne({ _id })
    if (!row) throw itemNotFound()
    const item = { ...row, key: removableKeyOf(row) }
    requirePermission(item, caller, isAdmin, requestContext)
    if (item.key) await records.begin(item)
    const { deletedCount } = await library.deleteOne(withSameOwner(item))
    if (deletedCount === 0) {
      if (!await library.findOne({ _id })) {
        await states.changed(0) // the other request may not have made its version yet
        return item
      }
      if (item.key) await records.cancel(item)
      return undefined
    }
    recordItemEvent('library.removed', item, caller, requestContext)
    if (item.upload_key) await freeKey(item.upload_key)
    return item
  }

  /**
   * The key of an item's objects, or their folder; undefined where nothing may be removed. An owner could forge `key`
   * and `url` in 0.3.0. So a key counts only in an item's folder, and a `url` only in a row of the replaced system,
   * which has no owner.
   */
  function removableKeyOf ({ _id, key, url, owner }: LibraryDocument): string | undefined {
    if (typeof key === 'string') return isItemFolder(folderOf(key)) ? key : undefined
    if (owner !== undefined || typeof url !== 'string') return undefined
    const rootKey = media.keyOf(url)
    return rootKey !== undefined && isRootKey(rootKey) ? rootKey : folderOfOldItem(_id)
  }

  /**
   * Frees the key, so that the same request can be made anew even if its first answer was never stored. If this fails,
   * the key is free a little later.
   */
  async function freeKey ({ digest }: UploadKey): Promise<void> {
    await idempotency.deleteOne({ _id: digest, answer: { $exists: false } }).catch(() => {})
  }

  /** An item without a removable key has no upload record: the queue of reports meets what is left of its reports. */
  async function deleteRest (item: LibraryDocument, log: Log): Promise<void> {
    await (item.key ? records.finish(item) : forgetReports(item._id)).catch((err: unknown) => {
      log.warn(
        { event: 'upload.cleanup_failed', key: item.key, err },
        'The objects and reports of a deleted item could not be deleted: a later sweep, or the next look at the queue, does it'
      )
    })
  }
}
