import { randomUUID } from 'node:crypto'
import { ObjectId, type Collection } from 'mongodb'
import type { Fingerprint, LibraryDocument, UploadDocument, UploadKey } from '../../schemas/documents.js'
import { invalidMultipart, isDamage, isMalformedForm, isTooLarge } from '../errors.js'
import type { Clock, FormFile, FormPart, Log } from '../ports.js'
import { readUploadForm, type FileOutcome } from './form.js'
import { readHead, type createIngest, type StoredFile } from './ingest.js'
import type { createPublish } from './publish.js'
import type { createUploadRecords } from './upload-records.js'

export interface UploadsOptions {
  library: Collection<LibraryDocument>
  uploadRecords: Pick<ReturnType<typeof createUploadRecords>, 'watch' | 'begin' | 'settle' | 'abandon'>
  takeIn: ReturnType<typeof createIngest>
  publish: ReturnType<typeof createPublish>
  limit: number
  now: Clock
}

/** The lock on a request's `Idempotency-Key`, and the fingerprint of its body once that is read. */
export interface IdempotencyLock { lock: { _id: string }, fingerprint: () => Promise<Fingerprint | undefined> }

/** Uploads in the body of a request. */
export function createUploads ({ library, uploadRecords, takeIn, publish, limit, now }: UploadsOptions) {
  return { upload: (...given: Parameters<typeof upload>) => uploadRecords.watch(upload(...given)), recall }

  /**
   * Streams the file of a form to the media store and makes it an item of the account, completely or not at all. After
   * any failure the object, its parts and its rows are removed, also if `gone` aborts before the item is written. 400,
   * 413, or 500 if the store or the database failed.
   */
  async function upload (
    form: AsyncIterable<FormPart>,
    owner: ObjectId,
    gone: AbortSignal,
    log: Log,
    lock?: IdempotencyLock | null
  ): Promise<LibraryDocument> {
    const row: UploadDocument = { _id: new ObjectId(), key: '', owner, state: 'open', started_at: now() }
    let file: StoredFile | undefined
    try {
      const { fields } = await readUploadForm(form, limit, async part => {
        const outcome = await store(part, row, gone)
        if ('stored' in outcome) file = outcome.stored
        return outcome
      })
      if (gone.aborted) throw invalidMultipart(gone.reason)
      return await publish(row, fields, file!, log, lock ? await uploadKey(lock) : undefined)
    } catch (error) {
      await uploadRecords.abandon(row, error, log)
      throw error
    } finally {
      file?.release()
    }
  }

  /** The item of a request that took its key at `since` and died before it answered. 409 while that is not settled. */
  async function recall (digest: string, since: Date): Promise<LibraryDocument | undefined> {
    const item = await library.findOne({ 'upload_key.digest': digest, created_at: { $gte: since } }, {
      readPreference: 'primary'
    })
    return item && await uploadRecords.settle(item) ? item : undefined
  }

  async function store (file: FormFile, row: UploadDocument, gone: AbortSignal): Promise<FileOutcome<StoredFile>> {
    const chunks = file.iterator({ destroyOnReturn: false })
    try {
      const { head, type } = await wrapMalformed(readHead(chunks))
      if (!type) return { refused: 'unsupported' }
      if ((file.minBytes ?? 0) > limit) return { refused: 'too large' }
      const key = `library/${randomUUID()}/original.${type.extension}`
      const incoming = {
        chunks: wellFormed(chunks),
        head,
        type,
        minBytes: file.minBytes,
        maxBytes: file.maxBytes,
        isTruncated: () => file.truncated === true
      }
      return { stored: await takeIn(incoming, key, gone, () => uploadRecords.begin(Object.assign(row, { key }))) }
    } catch (error) {
      if (isTooLarge(error)) return { refused: 'too large' }
      if (isDamage(error)) return { refused: 'damaged' }
      if (isMalformedForm(error)) return { refused: 'malformed' } // reading on fails the same way
      throw error
    } finally {
      skipRest(file, chunks)
    }
  }
}

async function uploadKey ({ lock: { _id: digest }, fingerprint }: IdempotencyLock): Promise<UploadKey | undefined> {
  const known = await fingerprint()
  return known && { digest, fingerprint: known }
}

/** The rest of a file. If it breaks off, the form is malformed. */
async function * wellFormed (chunks: AsyncIterator<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  for (let next = await wrapMalformed(chunks.next()); !next.done; next = await wrapMalformed(chunks.next())) {
    yield next.value
  }
}

/** Drains the rest of a file after its reader has released it. Before that it would not flow. */
function skipRest (file: FormFile, chunks: AsyncIterator<Buffer>): void {
  Promise.resolve(chunks.return?.()).catch(() => {}).finally(() => file.resume())
}

const wrapMalformed = <T> (work: Promise<T>) => work.catch((cause: unknown) => { throw invalidMultipart(cause) })
