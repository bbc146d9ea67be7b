import type { LibraryDocument } from '../../schemas/documents.js'
import type { MediaStore } from '../ports.js'

/** Where the objects of items lie, each item's in a folder of its own; and where direct uploads are posted to. */
export const LIBRARY = 'library/'
export const INCOMING = 'incoming/'

/** Everything of an item lies in one folder of the bucket. */
export const folderOf = (key: string) => key.slice(0, key.lastIndexOf('/') + 1)

/**
 * Whether a folder is that of one item: whatever else a key may say, nothing beyond an item is ever removed with it.
 */
export const isItemFolder = (folder: string) => /^library\/[^/]+\/$/.test(folder)

/** What an item has in the store: the key of each object, and its size where the row tells it. */
export function objectsOf ({ key = '', size, renditions = [] }: LibraryDocument): Map<string, number | undefined> {
  return new Map([[key, size], ...renditions.map(({ size, bytes }) => [`${folderOf(key)}${size}.gif`, bytes] as const)])
}

/** What lies in a folder: the key of each object, and its size. */
export async function objectsIn (folder: string, media: MediaStore): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for await (const { key, size } of media.list(folder)) found.set(key, size)
  return found
}

/** Rows whose objects lie in a folder. */
export const within = (folder: string) => ({ key: { $gte: folder, $lt: `${folder}\u{10FFFF}` } })
