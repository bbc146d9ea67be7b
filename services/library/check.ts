import { ObjectId, type Collection } from 'mongodb'
import type { LibraryDocument, UploadDocument } from '../../schemas/documents.js'
import type { Clock, MediaStore } from '../ports.js'
import { createDeletionRecords } from './delete-item.js'
import type { ForgetReportsOptions } from './moderation/forget-reports.js'
import { folderOf, folderOfOldItem, hasObject, isItemFolder, LIBRARY, objectsIn, objectsOf, renditionKey, within } from './object-keys.js'

/** Rows read ahead: few enough that the cursor does not expire before the next read. */
const BATCH_ROWS = 1000
const FIELDS = { key: 1, owner: 1, size: 1, renditions: 1 }

export interface LibraryCheckOptions extends ForgetReportsOptions {
  uploads: Collection<UploadDocument>
  library: Collection<LibraryDocument>
  media: MediaStore
  now: Clock
  /** Whether the check repairs what it can. */
  fix: boolean
  /** Gets the report line by line: ids and keys, no personal data. */
  print: (line: string) => void
}

export interface CheckResult {
  items: number
  /** Rows of the replaced system, and others whose objects are not this service's. */
  unchecked: number
  repaired: number
  /** Inconsistencies that remain. */
  open: number
}

/**
 * Compares the rows of the library with the objects of the store, in both directions, in key order and in bounded
 * memory. The service may run meanwhile: each suspected fault is checked again before it counts or is repaired. The
 * second check reads in an order in which nothing in progress looks wrong.
 */
export async function checkLibrary ({
  uploads,
  library,
  media,
  now,
  fix,
  print,
  ...collections
}: LibraryCheckOptions): Promise<CheckResult> {
  const result: CheckResult = {
    items: 0,
    unchecked: await library.countDocuments({ key: { $not: { $gt: '' } } }),
    repaired: 0,
    open: 0
  }
  const deletion = createDeletionRecords({ ...collections, uploads, library, media, now })
  const objects = media.list(LIBRARY)[Symbol.asyncIterator]()
  let object = await objects.next()
  const items = library.find({ key: { $gt: '' } }, { projection: FIELDS, batchSize: BATCH_ROWS }).sort({ key: 1 })
  for await (const item of items) {
    const folder = folderOf(item.key!)
    if (!isItemFolder(folder)) {
      result.unchecked++
      continue
    }
    result.items++
    const named = objectsOf(item)
    for (; !object.done && precedes(object.value.key, folder); object = await objects.next()) {
      await checkObject(object.value.key)
    }
    for (; !object.done && object.value.key.startsWith(folder); object = await objects.next()) {
      const { key, size } = object.value
      if (!named.has(key)) await checkObject(key)
      else if ((named.get(key) ?? size) === size) named.delete(key)
    }
    if (named.size > 0) await checkItem(item)
  }
  for (; !object.done; object = await objects.next()) await checkObject(object.value.key)
  const oldItems = { key: { $not: { $gt: '' } }, 'renditions.0': { $exists: true } } as const
  for await (const item of library.find(oldItems, { projection: FIELDS, batchSize: BATCH_ROWS })) {
    if (item._id instanceof ObjectId) await checkOldItem(item)
  }
  return result

  function report (subject: string, found: string, repaired?: string): void {
    result[repaired === undefined ? 'open' : 'repaired']++
    print(`${subject}: ${found}${repaired === undefined ? '' : `; ${repaired}`}`)
  }

  /**
   * An upload record exists before its objects and until after its item. A removal writes such a row, then deletes the
   * item, then the objects.
   */
  async function checkObject (key: string): Promise<void> {
    if (await isInFlight(key) || await isNamed(key) || await isInFlight(key) || !await hasObject(media, key)) return
    if (fix) await media.removeObject(key)
    report(`object ${key}`, 'no item has it', fix ? 'removed' : undefined)
  }

  async function isInFlight (key: string): Promise<boolean> {
    return await uploads.findOne(inFolderOf(key)) !== null
  }

  async function isNamed (key: string): Promise<boolean> {
    const items = await library.find(inFolderOf(key), { projection: FIELDS }).toArray()
    return items.some(item => objectsOf(item).has(key))
  }

  /** The folder of an item of the replaced system has the item's id as its name. */
  function inFolderOf (key: string) {
    const folder = folderOf(key)
    const [, id] = /^library\/([0-9a-f]{24})\/$/.exec(folder) ?? []
    return id === undefined ? within(folder) : { $or: [within(folder), { _id: new ObjectId(id) }] }
  }

  /** Reads the objects first, then the row. If the row still exists, no removal took the objects. */
  async function checkItem ({ _id, key = '' }: LibraryDocument): Promise<void> {
    const present = await objectsIn(folderOf(key), media)
    const item = await library.findOne({ _id, key }, { projection: FIELDS })
    if (!item) return
    const subject = `library ${_id.toHexString()}`
    if (!present.has(key)) {
      if (fix) await removeItem(item)
      return report(subject, 'its original is missing, so it cannot be served', fix ? 'removed' : undefined)
    }
    await checkRenditions(item, present)
    for (const [name, size] of objectsOf(item)) {
      const actual = present.get(name)
      if (actual !== undefined && size !== undefined && actual !== size) {
        report(subject, `${name.slice(folderOf(key).length)} has ${actual} bytes in place of ${size}`)
      }
    }
  }

  /** Reads the objects first, as for other items. */
  async function checkOldItem ({ _id }: LibraryDocument): Promise<void> {
    const present = await objectsIn(folderOfOldItem(_id), media)
    const item = await library.findOne({ _id }, { projection: FIELDS })
    if (item) await checkRenditions(item, present)
  }

  async function checkRenditions (item: LibraryDocument, present: Map<string, number>): Promise<void> {
    const { _id, key, renditions = [] } = item
    for (const rendition of renditions) {
      const { size } = rendition
      if (present.has(renditionKey(key || folderOfOldItem(_id), rendition))) continue
      if (fix) await library.updateOne({ _id }, { $pull: { renditions: { size } } })
      report(`library ${_id.toHexString()}`, `its rendition ${size} is missing`, fix ? 'dropped' : undefined)
    }
  }

  async function removeItem (item: LibraryDocument): Promise<void> {
    await deletion.begin(item)
    await library.deleteOne({ _id: item._id })
    await deletion.finish(item)
  }
}

/** Whether a key sorts before everything in a folder. Stores and the database order keys by their UTF-8 bytes. */
const precedes = (key: string, folder: string) => !key.startsWith(folder) &&
  Buffer.compare(Buffer.from(key), Buffer.from(folder)) < 0
