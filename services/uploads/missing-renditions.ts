import { createHash } from 'node:crypto'
import { S3ServiceException } from '@aws-sdk/client-s3'
import { ObjectId, type Collection, type Filter, type WithId } from 'mongodb'
import pLimit from 'p-limit'
import type { LibraryDocument, StoredRendition } from '../../schemas/documents.js'
import { isDamage, isRefusal, ServiceError, unsupportedFileType } from '../errors.js'
import { folderOf, folderOfOldItem, isItemFolder, renditionKey } from '../library/object-keys.js'
import { detectFileType, SIGNATURE_BYTES } from '../pictures/file-type.js'
import type { Picture } from '../pictures/pictures.js'
import type { createPicturePool } from '../pictures/pool.js'
import type { MediaStore } from '../ports.js'
import { factsOf } from './publish.js'

/** Items whose renditions become visible at once, by one new version of the library. */
const BATCH_ITEMS = 50
const FIT = 'contain'

export interface MissingRenditionsOptions {
  /** A write to it makes a new version of the library. */
  library: Collection<LibraryDocument>
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

/** `made`: items that have what they lacked. `open`: items that still lack a rendition. */
export interface RenditionsTally { made: number, open: number }

/** What an item gets, or why it gets nothing. */
interface Outcome {
  row: WithId<LibraryDocument>
  set?: Partial<LibraryDocument>
  fault?: string
}

/**
 * Makes the renditions that items lack, also those of items of the replaced system whose original is in the bucket. The
 * service may run meanwhile. Objects are written before the row names them. A run that is cut short is gone on with by
 * the next: objects have the same keys again. Rejects when the database or the store fails; what is done stays done.
 */
export async function makeMissingRenditions ({
  library,
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
  const tally = { made: 0, open: 0 }
  const total = await library.countDocuments(lacking)
  const limit = pLimit(concurrency)
  let seen = 0
  for await (const rows of batches()) {
    const outcomes = await Promise.all(rows.map(row => limit(async () => {
      const outcome = await makeFor(row)
      progress('items', ++seen, total)
      return outcome
    })))
    await write(outcomes)
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

  async function makeFor (row: WithId<LibraryDocument>): Promise<Outcome> {
    const keys = originalsOf(row)
    if (keys.length === 0) return { row, fault: 'its original is not in this bucket' }
    if (dryRun) return { row, set: {} }
    try {
      const bytes = await readOriginal(keys)
      if (typeof bytes === 'string') return { row, fault: bytes }
      return { row, set: await renditionsOf(row, bytes) }
    } catch (error) {
      const fault = faultOf(error)
      if (fault === undefined) throw error
      return { row, fault }
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

  async function readOriginal (keys: string[]): Promise<Buffer<ArrayBuffer> | string> {
    for (const key of keys) {
      const object = await media.get(key).catch(refusalOf)
      if (typeof object === 'string') return object
      if (!object) continue
      if (object.size > maxBytes) {
        object.body.destroy()
        return `its original has ${object.size} bytes, more than UPLOAD_MAX_BYTES`
      }
      const bytes = Buffer.allocUnsafeSlow(object.size)
      let read = 0
      for await (const chunk of object.body) read += (chunk as Buffer).copy(bytes, read)
      return bytes
    }
    return 'its original is missing'
  }

  async function renditionsOf (
    row: WithId<LibraryDocument>,
    bytes: Buffer<ArrayBuffer>
  ): Promise<Partial<LibraryDocument> | undefined> {
    const { renditions: present = [] } = row
    const type = detectFileType(bytes.subarray(0, SIGNATURE_BYTES))
    if (!type) throw unsupportedFileType()
    const own = row.key ? {} : { content_type: type.contentType, size: bytes.length, sha256: sha256(bytes) }
    const picture = await pictures.read(bytes, FIT, lackedBy(row))
    const made = await Promise.all(picture.renditions.map(rendition => put(row, rendition)))
    return { ...own, ...factsOf(picture), renditions: [...present, ...made] }
  }

  async function put (
    { _id, key }: LibraryDocument,
    { size, content_type: type, bytes, frames, duration_ms: duration }: Picture['renditions'][number]
  ): Promise<StoredRendition> {
    await media.putBytes(renditionKey(key || folderOfOldItem(_id), { size, content_type: type }), bytes, type)
    return { size, content_type: type, bytes: bytes.length, frames, duration_ms: duration }
  }

  async function write (outcomes: Outcome[]): Promise<void> {
    const changes = outcomes.filter(({ fault }) => fault === undefined)
    if (!dryRun && changes.length > 0) {
      const { matchedCount } = await library.bulkWrite(changes.map(({ row, set }) => ({
        updateOne: { filter: asRead(row), update: { $set: set! } }
      })), { ordered: false })
      if (matchedCount < changes.length) for (const change of changes) await checkWritten(change)
    }
    for (const { row, fault } of outcomes) {
      tally[fault === undefined ? 'made' : 'open']++
      print(`library ${row._id.toHexString()}: ${fault === undefined ? lackedBy(row).join(', ') : `open: ${fault}`}`)
    }
  }

  function lackedBy ({ renditions = [] }: LibraryDocument): string[] {
    return sizes.filter(size => !renditions.some(rendition => rendition.size === size))
  }

  /** The item may be deleted, and then its new objects go. It may have got renditions from another run. */
  async function checkWritten (outcome: Outcome): Promise<void> {
    const { row: { _id, key } } = outcome
    const row = await library.findOne({ _id })
    if (!row) {
      await media.remove(key ? folderOf(key) : folderOfOldItem(_id))
      outcome.fault = 'it was deleted meanwhile'
    } else if (lackedBy(row).length > 0) outcome.fault = 'it was changed meanwhile: run the command again'
  }
}

/** Matches the row only while its renditions are those that were read. */
const asRead = ({ _id, key, renditions }: WithId<LibraryDocument>): Filter<LibraryDocument> => ({
  _id,
  key: key ?? { $exists: false },
  renditions: renditions ?? { $exists: false }
})

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** Why the store does not give one object. Some stores refuse a missing object where its keys may not be listed. */
function refusalOf (error: unknown): string {
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode ?? 500 : 500
  if (status >= 500) throw error
  return `the store refuses its original: ${(error as Error).name}`
}

/** Why one picture has no renditions; undefined where the error is not about one picture. */
function faultOf (error: unknown): string | undefined {
  if (isDamage(error)) return 'its original cannot be decoded'
  if (!(error instanceof ServiceError)) return undefined
  if (error.statusCode === 503) return 'its original was not decoded for want of memory or time: run the command again'
  return isRefusal(error) ? 'its original is no GIF, PNG, JPEG or WebP' : undefined
}

function decoded (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
