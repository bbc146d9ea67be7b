import { ObjectId, type Collection } from 'mongodb'
import type { LibraryDocument, UploadDocument, UploadKey } from '../../schemas/documents.js'
import { allEnded } from '../all-ended.js'
import { fileTooLarge, invalidMultipart, isRefusal, unsupportedFileType } from '../errors.js'
import { newItemKey } from '../library/object-keys.js'
import type { Clock, FormFile, FormPart, IdempotencyLock, Log } from '../ports.js'
import type { createDecode } from './decode.js'
import { readForm } from './form.js'
import { detectType, type createIngest, type StoredFile } from './ingest.js'
import type { createPublish } from './publish.js'
import type { createUploadRecords } from './upload-records.js'

export interface UploadsOptions {
  library: Collection<LibraryDocument>
  uploadRecords: Pick<ReturnType<typeof createUploadRecords>, 'watch' | 'begin' | 'finishCommit' | 'abandon'>
  ingest: ReturnType<typeof createIngest>
  decode: ReturnType<typeof createDecode>
  publish: ReturnType<typeof createPublish>
  limit: number
  now: Clock
}

export interface UploadRequest {
  form: AsyncIterable<FormPart>
  owner: ObjectId
  /** Aborts when the client is gone. */
  signal: AbortSignal
  log: Log
  idempotencyLock: IdempotencyLock | null
}

/** A file in the store, and its upload record. */
interface Stored { record: UploadDocument, file: StoredFile }

/** Uploads in the body of a request. */
export function createUploads ({ library, uploadRecords, ingest, decode, publish, limit, now }: UploadsOptions) {
  return { upload: (request: UploadRequest) => uploadRecords.watch(upload(request)), recall }

  /**
   * Streams the file of a form to the media store and makes it an item of the account, completely or not at all. After
   * any failure the object, its parts and its records are removed, also if `signal` aborts before the item is written.
   * 400, 413, or 500 if the store or the database failed.
   */
  async function upload (request: UploadRequest): Promise<LibraryDocument> {
    const form = readForm(request.form, limit)
    const part = await form.findFile()
    const stored = await storeFile(part, request).catch(async (error: unknown) => {
      throw isRefusal(error) ? await form.firstFault(error) : error
    })
    return orAbandon(stored.record, request.log, () => publishFile(stored, form, request))
  }

  /** Detects the type of a file, writes its upload record, and stores it. Leaves the form ready for its next part. */
  async function storeFile (part: FormFile, { owner, signal, log }: UploadRequest): Promise<Stored> {
    const chunks = part.iterator({ destroyOnReturn: false })
    try {
      const { head, type } = await wrapMalformed(detectType(chunks))
      if (!type) throw unsupportedFileType()
      const { minBytes, maxBytes } = part
      if (minBytes !== undefined && minBytes > limit) throw fileTooLarge(limit)
      const record: UploadDocument = {
        _id: new ObjectId(),
        key: newItemKey(type.extension),
        owner,
        state: 'open',
        started_at: now()
      }
      const isTruncated = () => part.truncated === true
      const incoming = { chunks: wellFormed(chunks), head, type, minBytes, maxBytes, isTruncated }
      return await orAbandon(record, log, async () => {
        await uploadRecords.begin(record)
        return { record, file: await ingest(incoming, record.key, signal) }
      })
    } finally {
      skipRest(part, chunks)
    }
  }

  /** Checks the fields and decodes the file while the store takes it. Then makes it an item. */
  async function publishFile (
    { record, file }: Stored,
    form: ReturnType<typeof readForm>,
    { signal, log, idempotencyLock }: UploadRequest
  ): Promise<LibraryDocument> {
    try {
      const [, { fields, picture }] = await allEnded([file.stored, readRest()])
      checkClient(signal)
      return await publish({ record, fields, file, picture, key: await uploadKey(idempotencyLock) }, log)
    } finally {
      file.release()
    }

    async function readRest () {
      const fields = await form.readRest()
      checkClient(signal)
      return { fields, picture: await decode(file, fields.fit) }
    }
  }

  async function orAbandon<T> (record: UploadDocument, log: Log, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      await uploadRecords.abandon(record, error, log)
      throw error
    }
  }

  /** The item of a request that took its key at `since` and died before it answered. 409 while that is not settled. */
  async function recall (digest: string, since: Date): Promise<LibraryDocument | undefined> {
    const item = await library.findOne({ 'upload_key.digest': digest, created_at: { $gte: since } })
    return item && await uploadRecords.finishCommit(item) ? item : undefined
  }
}

function checkClient (signal: AbortSignal): void {
  if (signal.aborted) throw invalidMultipart(signal.reason)
}

async function uploadKey (idempotencyLock: IdempotencyLock | null): Promise<UploadKey | undefined> {
  const fingerprint = await idempotencyLock?.fingerprint()
  return idempotencyLock && fingerprint ? { digest: idempotencyLock.lock._id, fingerprint } : undefined
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
