import { createHash } from 'node:crypto'
import { S3ServiceException } from '@aws-sdk/client-s3'
import { ObjectId, type Collection, type Filter, type WithId } from 'mongodb'
import pLimit from 'p-limit'
import type { LibraryDocument, StoredRendition } from '../../schemas/documents.js'
import { allEnded } from '../all-ended.js'
import { isDamage, isRefusal, ServiceError, unsupportedFileType } from '../errors.js'
import { folderOf, folderOfOldItem, isItemFolder, renditionKey } from '../library/object-keys.js'
import { detectFileType, SIGNATURE_BYTES } from '../pictures/file-type.js'
import type { Picture } from '../pictures/pictures.js'
import type { createPicturePool } from '../pictures/pool.js'
import type { MediaStore } from '../ports.js'
import { factsOf } from './publish.js'

/** Items read at a time, and seen in lists by one new version of the library. */
const BATCH_ITEMS = 50
const FIT = 'contain'

export interface MissingRenditionsOptions {
  /** A write to it makes no new version of the library. */
  library: Collection<LibraryDocument>
  /** Makes a new version of the library. */
  newVersion: () => Promise<unknown>
  media: MediaStore
  pictures: Pick<ReturnType<typeof createPicturePool>, 'read'>
  /** The sizes that each item is to have, `<width>x<height>` each. */
  sizes: string[]
  /** A larger original is left alone. */
  maxBytes: number
  /** Originals in memory at once. */
  concurrency: number
  dryRun: boolean
  /** Gets a line for each item. */
  print: (line: string) => void
  progress: (what: string, done: number, total: number) => void
}

/**
 * `made`: items that have what they lacked. `open`: items that still lack a rendition, of which another run may make
 * those of the `postponed`.
 */
export interface RenditionsTally { made: number, open: number, postponed: number }

/** Why an item gets nothing. `again`: another run may do better. */
interface Fault { fault: string, again?: true }

/**
 * Makes the renditions that items lack, also those of items of the replaced system whose original is in the bucket. The
 * service may run meanwhile. The row names an object as soon as the store has it. The next run continues an interrupted
 * one: its objects have the same keys. Rejects when the database or the store fails; what is done stays done.
 */
export async function makeMissingRenditions ({
  library,
  newVersion,
  media,
  pictures,
  sizes,
  maxBytes,
  concurrency,
  dryRun,
  print,
  progress
}: MissingRenditionsOptions): Promise<RenditionsTally> {
  const lacking: Filter<LibraryDocument> = { $or: sizes.map(size => ({ 'renditions.size': { $ne: size } })) }
  const tally = { made: 0, open: 0, postponed: 0 }
  const total = await library.countDocuments(lacking)
  const limit = pLimit(concurrency)
  let seen = 0
  for await (const rows of batches()) {
    try {
      await allEnded(rows.map(row => limit(() => handle(row))))
    } finally {
      if (!dryRun) await newVersion()
    }
  }
  return tally

  /** By id and not by one cursor, which would expire while pictures are decoded. */
  async function * batches (): AsyncGenerator<Array<WithId<LibraryDocument>>> {
    for (let last: ObjectId | undefined; ;) {
      const rows = await library
        .find({ $and: [last ? { _id: { $gt: last } } : { _id: { $type: 'objectId' } }, lacking] })
        .sort({ _id: 1 })
        .limit(BATCH_ITEMS)
        .toArray()
      if (rows.length > 0) yield rows
      if (rows.length < BATCH_ITEMS) return
      last = rows.at(-1)!._id
    }
  }

  async function handle (row: WithId<LibraryDocument>): Promise<void> {
    const lacked = sizesLackedBy(row)
    const result = await makeFor(row, lacked)
    if (result) {
      tally.open++
      if (result.again) tally.postponed++
    } else tally.made++
    print(`library ${row._id.toHexString()}: ${result ? `open: ${result.fault}` : lacked.join(', ')}`)
    progress('items', ++seen, total)
  }

  /** Undefined when the item has what it lacked. */
  async function makeFor (row: WithId<LibraryDocument>, lacked: string[]): Promise<Fault | undefined> {
    const keys = originalsOf(row)
    if (keys.length === 0) return { fault: 'its original is not in this bucket' }
    if (dryRun) return undefined
    try {
      const bytes = await readOriginal(keys)
      if ('fault' in bytes) return bytes
      return await write(row, await renditionsOf(row, bytes, lacked))
    } catch (error) {
      const fault = faultOf(error)
      if (!fault) throw error
      return fault
    }
  }

  /**
   * The keys that the original may have. An address of the replaced system may be encoded. Its objects lie at the root
   * of the bucket. A row with an owner is none of its rows.
   */
  function originalsOf ({ key, url, owner }: LibraryDocument): string[] {
    if (key) return isItemFolder(folderOf(key)) ? [key] : []
    const rootKey = typeof url === 'string' && owner === undefined ? media.keyOf(url) : undefined
    if (rootKey === undefined) return []
    const [path = ''] = rootKey.split(/[?#]/, 1)
    return [...new Set([rootKey, decoded(path)])].filter(key => key !== '' && !key.includes('/'))
  }

  async function readOriginal (keys: string[]): Promise<Buffer<ArrayBuffer> | Fault> {
    for (const key of keys) {
      const object = await media.get(key).catch(refusalOf)
      if (object && 'fault' in object) return object
      if (!object) continue
      if (object.size > maxBytes) {
        object.body.destroy()
        return { fault: `its original has ${object.size} bytes, more than UPLOAD_MAX_BYTES` }
      }
      const bytes = Buffer.allocUnsafeSlow(object.size)
      let read = 0
      for await (const chunk of object.body) read += (chunk as Buffer).copy(bytes, read)
      if (read < bytes.length) throw new Error('the store gives less of an object than it says')
      return bytes
    }
    return { fault: 'its original is missing' }
  }

  async function renditionsOf (
    row: WithId<LibraryDocument>,
    bytes: Buffer<ArrayBuffer>,
    lacked: string[]
  ): Promise<Partial<LibraryDocument>> {
    const type = detectFileType(bytes.subarray(0, SIGNATURE_BYTES))
    if (!type) throw unsupportedFileType()
    const own = row.key ? {} : { content_type: type.contentType, size: bytes.length, sha256: sha256(bytes) }
    const picture = await pictures.read(bytes, FIT, lacked)
    const made = await allEnded(picture.renditions.map(rendition => put(row, rendition)))
    return { ...own, ...factsOf(picture), renditions: [...renditionsIn(row), ...made] }
  }

  async function put (
    { _id, key }: LibraryDocument,
    { size, content_type: type, bytes, frames, duration_ms: duration }: Picture['renditions'][number]
  ): Promise<StoredRendition> {
    await media.putBytes(renditionKey(key || folderOfOldItem(_id), { size, content_type: type }), bytes, type)
    return { size, content_type: type, bytes: bytes.length, frames, duration_ms: duration }
  }

  /** The item may be deleted meanwhile, and then its new objects go. Another run may have given it renditions. */
  async function write (row: WithId<LibraryDocument>, set: Partial<LibraryDocument>): Promise<Fault | undefined> {
    const { _id, key } = row
    if ((await library.updateOne(asRead(row), { $set: set })).matchedCount === 1) return undefined
    const present = await library.findOne({ _id })
    if (!present) {
      await media.remove(key ? folderOf(key) : folderOfOldItem(_id))
      return { fault: 'it was deleted meanwhile' }
    }
    return sizesLackedBy(present).length === 0 ? undefined : { fault: 'it was changed meanwhile', again: true }
  }

  function sizesLackedBy (row: LibraryDocument): string[] {
    return sizes.filter(size => !renditionsIn(row).some(rendition => rendition.size === size))
  }
}

/** A row of 0.3.0 could hold anything. */
const renditionsIn = ({ renditions }: LibraryDocument) => Array.isArray(renditions) ? renditions : []

/** Matches the row only while its renditions are those that were read. */
const asRead = ({ _id, key, renditions }: WithId<LibraryDocument>): Filter<LibraryDocument> => ({
  _id,
  key: key ?? { $exists: false },
  renditions: renditions === undefined ? { $exists: false } : { $eq: renditions }
})

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** Why the store does not give one object. Some stores refuse a missing object where its keys may not be listed. */
function refusalOf (error: unknown): Fault {
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode ?? 500 : 500
  if (status >= 500) throw error
  return { fault: `the store refuses its original: ${(error as Error).name}` }
}

/** Why one picture has no renditions; undefined where the error is not about one picture. */
function faultOf (error: unknown): Fault | undefined {
  if (isDamage(error)) return { fault: 'its original cannot be decoded' }
  if (!(error instanceof ServiceError)) return undefined
  if (error.statusCode === 503) return { fault: 'memory or time to decode its original was missing', again: true }
  return isRefusal(error) ? { fault: 'its original is no GIF, PNG, JPEG or WebP' } : undefined
}

function decoded (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
