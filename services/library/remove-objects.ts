import type { Collection, Filter, ObjectId } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { MediaStore } from '../ports.js'
import { folderOf, folderOfOldItem, isItemFolder, isRootKey, within } from './object-keys.js'

export interface ObjectRemovalOptions {
  library: Collection<LibraryDocument>
  media: Pick<MediaStore, 'remove' | 'removeObject' | 'urlsOf'>
}

/**
 * Removes the objects of an item whose row is gone, unless they are another row's. In the replaced system two uploads
 * of files with one name shared an object. In 0.3.0 an owner could name the folder of another item: it belongs to the
 * oldest row. Does nothing for a key that is neither's.
 */
export function createObjectRemoval ({ library, media }: ObjectRemovalOptions) {
  return async function removeObjects (id: ObjectId, key: string): Promise<void> {
    const folder = folderOf(key)
    if (isItemFolder(folder)) {
      if (!await isThere({ ...within(folder), _id: { $lt: id } })) await media.remove(folder)
      return
    }
    if (!isRootKey(key)) return
    await media.remove(folderOfOldItem(id))
    if (!await isThere({ $or: media.urlsOf(key).flatMap(spellings) })) await media.removeObject(key)
  }

  async function isThere (filter: Filter<LibraryDocument>): Promise<boolean> {
    return await library.findOne(filter, { projection: { _id: 1 } }) !== null
  }
}

/** An address, and the same with a query or a fragment. */
const spellings = (url: string): Array<Filter<LibraryDocument>> =>
  [{ url }, { url: { $gt: `${url}?`, $lt: `${url}@` } }, { url: { $gt: `${url}#`, $lt: `${url}$` } }]
