import { createHash } from 'node:crypto'
import { fileTooLarge, invalidMultipart } from '../errors.js'
import { detectFileType, SIGNATURE_BYTES, type FileType } from '../pictures/file-type.js'
import { createScrubber } from '../pictures/scrub/index.js'
import type { MediaStore } from '../ports.js'
import type { createByteBudget } from './byte-budget.js'
import { wrapStoreFailure } from './upload-records.js'

/** A file being received. */
export interface Incoming {
  /** The bytes after `head`, which is already read. */
  chunks: AsyncIterable<Buffer>
  head: Buffer
  type: FileType
  /** The file has at least this many bytes. Otherwise its form is malformed. */
  minBytes?: number
  /** The file has at most this many bytes. */
  maxBytes?: number
  /** Whether bytes were dropped because there were too many. Known once `chunks` has ended. */
  isTruncated?: () => boolean
}

/** A file that was read completely and is stored without its metadata. */
export interface StoredFile extends FileType {
  size: number
  sha256: string
  frames: number
  /** Settles as the store does. The object must not be removed before. */
  stored: Promise<void>
  /**
   * The bytes for decoding, once. Waits for memory if they must be read back from the store. `release` gives the memory
   * back.
   */
  bytes: () => Promise<Buffer<ArrayBuffer>>
  release: () => void
}

export interface IngestOptions {
  media: MediaStore
  limit: number
  /** For bytes that are kept in memory while they pass, however slowly. Without it no bytes are kept. */
  keeping?: ReturnType<typeof createByteBudget>
  /** For bytes that are read back from the store. It is separate, so that no upload waits for a slow client. */
  readingBack: ReturnType<typeof createByteBudget>
}

/** Ingest: every file enters the store this way. */
export function createIngest ({ media, limit, keeping, readingBack }: IngestOptions) {
  /**
   * Stores a file under `key`, whose upload record must be there. One pass counts, scrubs and hashes the bytes; size
   * and hash are of the served bytes. Resolves when all bytes are stored. Where they are kept in memory, it resolves
   * already when they are read, so that they can be decoded meanwhile. `signal` ends the wait for memory. Rejects with
   * 413 at the first byte over the limit, with 400 for a picture that is damaged or out of bounds and for a form that
   * ended early, with the error of `chunks`, or with the store's failure. Then the caller has to remove `key`.
   */
  return async function ingest (incoming: Incoming, key: string, signal: AbortSignal): Promise<StoredFile> {
    let release = keeping?.tryReserve(Math.min(limit, incoming.maxBytes ?? limit))
    const kept = release && []
    try {
      const facts = { size: 0, sha256: '', frames: 0 }
      let stored!: Promise<void>
      await new Promise<void>((resolve, reject) => {
        const bytes = scrubbed(incoming, limit, facts, kept, resolve)
        stored = wrapStoreFailure(media.put(key, bytes, incoming.type.contentType, incoming.minBytes))
        stored.then(resolve, reject)
      })
      if (!kept) await stored
      return {
        ...incoming.type,
        ...facts,
        stored,
        bytes: () => kept ? Promise.resolve(joined(kept)) : readBack(facts.size),
        release: () => release?.()
      }
    } catch (error) {
      release?.()
      throw error
    }

    async function readBack (size: number): Promise<Buffer<ArrayBuffer>> {
      release = await readingBack.reserve(size, signal).catch((cause: unknown) => { throw invalidMultipart(cause) })
      return wrapStoreFailure(wholeObject(media, key, size))
    }
  }
}

async function wholeObject (media: MediaStore, key: string, size: number): Promise<Buffer<ArrayBuffer>> {
  const object = await media.get(key)
  if (object?.size !== size) throw new Error('the store does not give what was stored a moment ago')
  const bytes = Buffer.allocUnsafe(size)
  let read = 0
  for await (const chunk of object.body) read += chunk.copy(bytes, read) // rejects if less comes than was announced
  return bytes
}

async function * scrubbed (
  { chunks, head, type, minBytes, isTruncated = () => false }: Incoming,
  limit: number,
  facts: Pick<StoredFile, 'size' | 'sha256' | 'frames'>,
  kept: Buffer[] | undefined,
  onEnd: () => void
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
  onEnd()
}

/** Joins the pieces, and does not keep them twice in memory. */
function joined (pieces: Buffer[]): Buffer<ArrayBuffer> {
  const bytes = Buffer.concat(pieces)
  pieces.length = 0
  return bytes
}

/** Reads the first bytes of a file and detects its type. */
export async function detectType (chunks: AsyncIterator<Buffer>): Promise<{ head: Buffer, type?: FileType }> {
  let head = Buffer.alloc(0)
  while (head.length < SIGNATURE_BYTES) {
    const { done, value } = await chunks.next()
    if (done) break
    head = Buffer.concat([head, value])
  }
  return { head, type: detectFileType(head) }
}
