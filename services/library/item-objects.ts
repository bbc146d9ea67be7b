import type { LibraryDocument } from '../../schemas/documents.js'
import type { MediaStore } from '../ports.js'

/** Prefixes of the objects of items, each item in its own folder, and of the objects of direct uploads. */
export const LIBRARY = 'library/'
export const INCOMING = 'incoming/'

/** All objects of an item are in one folder of the bucket. */
export const folderOf = (key: string) => key.slice(0, key.lastIndexOf('/') + 1)

/** Whether a folder is that of one item. A removal checks this, so that no key makes it touch anything else. */
export const isItemFolder = (folder: string) => /^library\/[^/]+\/$/.test(folder)

/** The objects that a row names: the key of each, and its size in bytes if the row has it. */
export function objectsOf ({ key = '', size, renditions = [] }: LibraryDocument): Map<string, number | undefined> {
  return new Map([[key, size], ...renditions.map(({ size, bytes }) => [`${folderOf(key)}${size}.gif`, bytes] as const)])
}

/** The objects in a folder: the key of each, and its size in bytes. */
export async function objectsIn (folder: string, media: MediaStore): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for await (const { key, size } of media.list(folder)) found.set(key, size)
  return found
}

/** Matches rows whose objects are in a folder. */
export const within = (folder: string) => ({ key: { $gte: folder, $lt: `${folder}\u{10FFFF}` } })
