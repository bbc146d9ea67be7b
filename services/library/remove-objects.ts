import type { Collection, Filter, ObjectId } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { MediaStore } from '../ports.js'
import { createForgetReports, type ForgetReportsOptions } from './moderation/forget-reports.js'
import { folderOf, folderOfOldItem, isItemFolder, isRootKey } from './object-keys.js'

export interface ObjectRemovalOptions extends ForgetReportsOptions {
  library: Collection<LibraryDocument>
  media: Pick<MediaStore, 'remove' | 'removeObject' | 'urlsOf'>
}

/**
 * Removes the objects and the reports of an item whose row is gone. An object of the replaced system stays while
 * another row names it: there, two uploads of files with one name shared an object. Its renditions go. Removes no
 * object for a key that is neither's.
 */
export function createObjectRemoval ({ library, media, ...collections }: ObjectRemovalOptions) {
  const forgetReports = createForgetReports(collections)

  return async function remove (id: ObjectId, key: string): Promise<void> {
    await removeObjects(id, key)
    await forgetReports(id)
  }

  async function removeObjects (id: ObjectId, key: string): Promise<void> {
    if (isItemFolder(folderOf(key))) return media.remove(folderOf(key))
    if (!isRootKey(key)) return
    await media.remove(folderOfOldItem(id))
    if (!await isNamed(key)) await media.removeObject(key)
  }

  async function isNamed (key: string): Promise<boolean> {
    const filter = { $or: media.urlsOf(key).flatMap(spellings) }
    return await library.findOne(filter, { projection: { _id: 1 } }) !== null
  }
}

/** An address, and the same with a query or a fragment. */
const spellings = (url: string): Array<Filter<LibraryDocument>> =>
  [{ url }, { url: { $gt: `${url}?`, $lt: `${url}@` } }, { url: { $gt: `${url}#`, $lt: `${url}$` } }]
