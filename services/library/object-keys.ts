import { randomUUID } from 'node:crypto'
import type { ObjectId } from 'mongodb'
import type { LibraryDocument, StoredRendition } from '../../schemas/documents.js'
import type { MediaStore } from '../ports.js'

/** Prefixes of the objects of items, each item in its own folder, and of the objects of direct uploads. */
export const LIBRARY = 'library/'
export const INCOMING = 'incoming/'

/** A key for the original of a new item, in a folder of its own. */
export const newItemKey = (extension: string) => `${LIBRARY}${randomUUID()}/original.${extension}`
/** Where the renditions of an item of the replaced system lie: its original stays at the root of the bucket. */
export const folderOfOldItem = (id: ObjectId) => `${LIBRARY}${id.toHexString()}/`
/** A key for a file that a client posts to the store. */
export const newStagingKey = () => `${INCOMING}${randomUUID()}`
/** The key of a rendition beside the original at `key`, or in a folder. */
export function renditionKey (key: string, rendition: Pick<StoredRendition, 'size' | 'content_type'>): string {
  const { size, content_type: type } = rendition
  return `${folderOf(key)}${size}.${type === 'image/png' ? 'png' : 'gif'}`
}

/** All objects of an item are in one folder of the bucket. */
export const folderOf = (key: string) => key.slice(0, key.lastIndexOf('/') + 1)

/** Whether a folder is that of one item. A removal checks this, so that no key makes it touch anything else. */
export const isItemFolder = (folder: string) => /^library\/[^/]+\/$/.test(folder)

/**
 * Whether a key is that of an object of the replaced system: they lie at the root of the bucket. With other characters
 * its address may be written in several ways, and a row does not tell whether it names the object.
 */
export const isRootKey = (key: string) => /^[\w.~-]+$/.test(key)

/**
 * The objects that a row names in its folder: the key of each, and its size in bytes if the row has it. The original of
 * a row of the replaced system is elsewhere.
 */
export function objectsOf ({ _id, key, size, renditions = [] }: LibraryDocument): Map<string, number | undefined> {
  const place = key || folderOfOldItem(_id)
  const made = renditions.map(rendition => [renditionKey(place, rendition), rendition.bytes] as const)
  return new Map([...(key ? [[key, size] as const] : []), ...made])
}

/** The objects in a folder: the key of each, and its size in bytes. */
export async function objectsIn (folder: string, media: MediaStore): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for await (const { key, size } of media.list(folder)) found.set(key, size)
  return found
}

/** Whether there is an object with exactly this key. */
export async function hasObject (media: Pick<MediaStore, 'list'>, wanted: string): Promise<boolean> {
  const { value } = await media.list(wanted)[Symbol.asyncIterator]().next()
  return value?.key === wanted
}

/** Matches rows whose objects are in a folder. */
export const within = (folder: string) => ({ key: { $gte: folder, $lt: `${folder}\u{10FFFF}` } })
