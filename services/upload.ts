import { createHash, randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { ObjectId, type Collection } from 'mongodb'
import type { LibraryDocument, UploadDocument } from '../schemas/documents.js'
import { owned, ownership } from './belongings.js'
import { fileTooLarge, invalidMultipart, orFail, ServiceError } from './errors.js'
import { detectFileType, SIGNATURE_BYTES, type FileType } from './file-type.js'
import type { Clock, Log, MediaStore } from './ports.js'
import { readUploadForm, type FileOutcome, type FormPart, type UploadFields } from './upload-form.js'

/** How long a refusal waits for its clean-up before it is answered; the clean-up goes on. */
const PATIENCE_MS = 500
const RETRY_DELAYS_MS = [250, 500, 1000, 2000, 4000]
const CLEAN_UP_ATTEMPTS = 100

export interface UploadsOptions {
  uploads: Collection<UploadDocument>
  library: Collection<LibraryDocument>
  media: MediaStore
  limit: number
  now: Clock
}

interface Stored extends FileType {
  size: number
  sha256: string
}

/** Who uploads: by what is known, and by what the database has now, which rejects when nobody is signed in any more. */
export interface Uploader {
  phone: string
  sessionId: string
  phoneNow: () => Promise<string>
}

type UploadedFile = Readable & { truncated?: boolean }

export function createUploads ({ uploads, library, media, limit, now }: UploadsOptions) {
  const stopping = new AbortController()
  const cleaning = new Set<Promise<void>>()
  return { upload, close }

  /**
   * Streams the file of a form to the media store and makes it an item of the library, owned by the uploader: whole, or not at all.
   * Whatever goes wrong, the object, its parts and its rows are removed; so too when `gone` says, before the item is one, that nobody waits for it any more.
   * 400, 413, or 500 when the store or the database failed.
   */
  async function upload (form: AsyncIterable<FormPart>, uploader: Uploader, gone: AbortSignal, log: Log): Promise<LibraryDocument> {
    const row: UploadDocument = { _id: new ObjectId(), key: '', owner: uploader.phone, session: uploader.sessionId, state: 'open', started_at: now() }
    try {
      const { fields, stored } = await readUploadForm(form, limit, file => store(file, row, uploader))
      if (gone.aborted) throw invalidMultipart(gone.reason)
      const item = await commit(row, fields, stored)
      log.info({ event: 'library.uploaded', id: item._id.toHexString(), content_type: stored.contentType, size: stored.size })
      return item
    } catch (error) {
      if (row.key !== '') await Promise.race([cleanUp(row, log), wait(PATIENCE_MS, undefined, { ref: false })])
      throw error
    }
  }

  async function store (file: UploadedFile, row: UploadDocument, uploader: Uploader): Promise<FileOutcome<Stored>> {
    const chunks = file.iterator({ destroyOnReturn: false })
    try {
      const head = await orMalformed(readHead(chunks))
      const type = detectFileType(head)
      if (!type) return { refused: 'unsupported' }
      row.key = `library/${randomUUID()}/original.${type.extension}`
      await register(row, uploader)
      const facts = { size: 0, sha256: '' }
      const body = Readable.from(guard(head, chunks, file, facts), { objectMode: false })
      await orFail('Failed to upload file to S3', true, media.put(row.key, body, type.contentType))
      return { stored: { ...type, ...facts } }
    } catch (error) {
      if (error instanceof ServiceError && error.statusCode === 413) return { refused: 'too large' }
      throw error
    } finally {
      skipRest(file, chunks)
    }
  }

  /** Whoever changes their number or leaves is looked for only once the row is there: either they find the row, or their change is found here. */
  async function register (row: UploadDocument, { phoneNow }: Uploader): Promise<void> {
    await uploads.insertOne(row)
    for (let owner = await phoneNow(); owner !== row.owner; owner = await phoneNow()) {
      await uploads.updateOne({ _id: row._id }, { $set: { owner } })
      row.owner = owner
    }
  }

  /** Passes the file on, counted and hashed. Throws at the first byte over the limit, and when the file ended before its time. */
  async function * guard (head: Buffer, chunks: AsyncIterable<Buffer>, file: UploadedFile, facts: { size: number, sha256: string }): AsyncGenerator<Buffer> {
    const hash = createHash('sha256')
    const counted = (chunk: Buffer) => {
      facts.size += chunk.length
      if (facts.size > limit || file.truncated) throw fileTooLarge(limit)
      hash.update(chunk)
      return chunk
    }
    try {
      yield counted(head)
      for await (const chunk of chunks) yield counted(chunk)
    } catch (error) {
      throw error instanceof ServiceError ? error : invalidMultipart(error)
    }
    facts.sha256 = hash.digest('hex')
  }

  async function commit (row: UploadDocument, fields: UploadFields, { contentType, size, sha256 }: Stored): Promise<LibraryDocument> {
    const type = contentType === 'image/gif' ? 'gif' : 'image'
    const category = type === 'gif' ? 'GIF' : 'Images'
    const item: LibraryDocument = { _id: row._id, key: row.key, owner: row.owner, session: row.session, category, ...fields, type, content_type: contentType, size, sha256, started_at: row.started_at, created_at: now() }
    const { matchedCount } = await uploads.updateOne({ _id: row._id, state: 'open' }, { $set: { state: 'committing' } })
    if (matchedCount === 0) throw new Error('the upload was given up for dead before it ended')
    await library.insertOne(item)
    return release(item)
  }

  /** Deletes the row of a committed upload, once it and the item have the same owner: one that moved or left meanwhile has changed the row first. */
  async function release (item: LibraryDocument): Promise<LibraryDocument> {
    const { _id, owner = { $exists: false } } = item
    const { deletedCount } = await uploads.deleteOne({ _id, state: 'committing', owner })
    if (deletedCount === 1) return item
    const row = await uploads.findOne({ _id, state: 'committing' }, { readPreference: 'primary' })
    if (!row) throw new Error('the upload was given up for dead while it was committed')
    await library.updateOne({ _id }, ownership(row.owner))
    return release(owned(item, row.owner))
  }

  /** Removes what an upload left, row last, trying again while the store or the database is away. */
  function cleanUp (row: UploadDocument, log: Log): Promise<void> {
    const work = (async () => {
      for (let attempt = 0; attempt < CLEAN_UP_ATTEMPTS && !stopping.signal.aborted; attempt++) {
        try {
          await library.deleteOne({ _id: row._id })
          await media.remove(row.key)
          await uploads.deleteOne({ _id: row._id })
          return
        } catch (err) {
          log.warn({ event: 'library.unclean', key: row.key, err })
          await wait(RETRY_DELAYS_MS[Math.min(attempt, RETRY_DELAYS_MS.length - 1)], undefined, { ref: false, signal: stopping.signal }).catch(() => {})
        }
      }
    })().finally(() => cleaning.delete(work))
    cleaning.add(work)
    return work
  }

  /** Lets what is being cleaned up end its present attempt. */
  async function close (): Promise<void> {
    stopping.abort()
    await Promise.all(cleaning)
  }
}

async function readHead (chunks: AsyncIterator<Buffer>): Promise<Buffer> {
  let head = Buffer.alloc(0)
  while (head.length < SIGNATURE_BYTES) {
    const { done, value } = await chunks.next()
    if (done) break
    head = Buffer.concat([head, value])
  }
  return head
}

/** Lets the rest of a file flow away, once its reader has let go of it: before that it would not flow. */
function skipRest (file: UploadedFile, chunks: AsyncIterator<Buffer>): void {
  Promise.resolve(chunks.return?.()).catch(() => {}).finally(() => file.resume())
}

const orMalformed = <T> (work: Promise<T>) => work.catch((cause: unknown) => { throw invalidMultipart(cause) })
