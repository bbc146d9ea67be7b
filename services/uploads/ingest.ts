import { createHash } from 'node:crypto'
import { fileTooLarge, invalidMultipart } from '../errors.js'
import { detectFileType, SIGNATURE_BYTES, type FileType } from '../pictures/file-type.js'
import { createScrubber } from '../pictures/scrub/index.js'
import type { MediaStore } from '../ports.js'
import type { createByteBudget } from './byte-budget.js'
import { wrapStoreFailure } from './upload-records.js'

/** A file on its way in. */
export interface Incoming {
  /** Its bytes, of which `head` has been read already. */
  chunks: AsyncIterable<Buffer>
  head: Buffer
  type: FileType
  /** So many bytes will come at least, or the form that they are in is malformed. */
  minBytes?: number
  /** So many will come at most. */
  maxBytes?: number
  /** Whether bytes were left out because there were too many, once `chunks` has ended. */
  isTruncated?: () => boolean
}

/** A file that is in the store, whole, without its metadata. */
export interface StoredFile extends FileType {
  size: number
  sha256: string
  frames: number
  /**
   * The bytes, for decoding, once: waits for memory where they have to be read back from the store. `release` gives the
   * memory back.
   */
  bytes: () => Promise<Buffer<ArrayBuffer>>
  release: () => void
}

export interface IngestOptions {
  media: MediaStore
  limit: number
  /** For the bytes that are kept while they pass, however slowly they come; without it none are. */
  keeping?: ReturnType<typeof createByteBudget>
  /** For the bytes of those that are there, but were not kept: apart, so that nobody waits for who uploads slowly. */
  readingBack: ReturnType<typeof createByteBudget>
}

/** The way of every file into the store. */
export function createIngest ({ media, limit, keeping, readingBack }: IngestOptions) {
  /**
   * Tells `begin` that now bytes are stored under `key`, and passes the file to the store, in the one pass in which its
   * bytes are counted, scrubbed and hashed;
   * size and hash are of what is served. Rejects with 413 at the first byte over the limit, 400 for a picture that is
   * damaged or out of bounds and for a form that ended
   * before its time, with what `chunks` throws, or with the store's failure; then `key` has to be removed.
   */
  return async function takeIn (
    incoming: Incoming,
    key: string,
    gone: AbortSignal,
    begin: () => Promise<void>
  ): Promise<StoredFile> {
    let release = keeping?.tryReserve(Math.min(limit, incoming.maxBytes ?? limit))
    const kept = release && []
    try {
      await begin()
      const facts = { size: 0, sha256: '', frames: 0 }
      await wrapStoreFailure(media.put(
        key,
        scrubbed(incoming, limit, facts, kept),
        incoming.type.contentType,
        incoming.minBytes
      ))
      return {
        ...incoming.type,
        ...facts,
        bytes: () => kept ? Promise.resolve(joined(kept)) : readBack(facts.size),
        release: () => release?.()
      }
    } catch (error) {
      release?.()
      throw error
    }

    async function readBack (size: number): Promise<Buffer<ArrayBuffer>> {
      release = await readingBack.reserve(size, gone).catch((cause: unknown) => { throw invalidMultipart(cause) })
      return wrapStoreFailure(wholeObject(media, key, size))
    }
  }
}

async function wholeObject (media: MediaStore, key: string, size: number): Promise<Buffer<ArrayBuffer>> {
  const object = await media.get(key)
  if (object?.size !== size) throw new Error('the store does not give what was stored a moment ago')
  const bytes = Buffer.allocUnsafe(size)
  let read = 0
  for await (const chunk of object.body) read += chunk.copy(bytes, read) // rejects when less comes than was announced
  return bytes
}

async function * scrubbed (
  { chunks, head, type, minBytes, isTruncated = () => false }: Incoming,
  limit: number,
  facts: Pick<StoredFile, 'size' | 'sha256' | 'frames'>,
  kept?: Buffer[]
): AsyncGenerator<Buffer, void, undefined> {
  const scrubber = createScrubber(type)
  const hash = createHash('sha256')
  const counted = (chunk: Buffer) => {
    facts.size += chunk.length
    if (facts.size > limit) throw fileTooLarge(limit)
    return scrubber.push(chunk).map(noted)
  }
  const noted = (piece: Buffer) => {
    hash.update(piece)
    kept?.push(piece)
    return piece
  }
  yield * counted(head)
  for await (const chunk of chunks) yield * counted(chunk)
  if (isTruncated()) throw fileTooLarge(limit)
  if (minBytes !== undefined && facts.size < minBytes) throw invalidMultipart()
  yield * scrubber.end().map(noted)
  facts.sha256 = hash.digest('hex')
  facts.frames = scrubber.frames
}

/** The pieces as one, and no longer twice in memory. */
function joined (pieces: Buffer[]): Buffer<ArrayBuffer> {
  const bytes = Buffer.concat(pieces)
  pieces.length = 0
  return bytes
}

/** The first bytes of a file, and what they say it is. */
export async function readHead (chunks: AsyncIterator<Buffer>): Promise<{ head: Buffer, type?: FileType }> {
  let head = Buffer.alloc(0)
  while (head.length < SIGNATURE_BYTES) {
    const { done, value } = await chunks.next()
    if (done) break
    head = Buffer.concat([head, value])
  }
  return { head, type: detectFileType(head) }
}
