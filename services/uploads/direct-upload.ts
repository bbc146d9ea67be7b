import { ObjectId, type Collection } from 'mongodb'
import type { LibraryDocument, UploadDocument } from '../../schemas/documents.js'
import type { DirectUpload, DirectUploadRequest } from '../../schemas/library.js'
import { allEnded } from '../all-ended.js'
import {
  FieldError,
  fileTooLarge,
  isRefusal,
  nothingUploaded,
  sentences,
  unsupportedFileType,
  uploadNotFound,
  uploadUnderWay
} from '../errors.js'
import { isLabel, MAX_LABEL } from '../library/label.js'
import { newItemKey, newStagingKey } from '../library/object-keys.js'
import type { Clock, Log, MediaStore } from '../ports.js'
import type { createDecode } from './decode.js'
import { uploadedFields } from './form.js'
import { detectType, type createIngest, type StoredFile } from './ingest.js'
import type { createPublish } from './publish.js'
import type { createQuota } from './quota.js'
import { wrapStoreFailure, type createUploadRecords } from './upload-records.js'

export interface DirectUploadsOptions {
  uploads: Collection<UploadDocument>
  library: Collection<LibraryDocument>
  media: MediaStore
  uploadRecords: Pick<ReturnType<typeof createUploadRecords>, 'watch' | 'begin' | 'resume' | 'abandon'>
  ingest: ReturnType<typeof createIngest>
  decode: ReturnType<typeof createDecode>
  publish: ReturnType<typeof createPublish>
  quota: Pick<ReturnType<typeof createQuota>, 'stage' | 'unstage'>
  limit: number
  /** How long a client can use a form. */
  lifeSeconds: number
  now: Clock
}

/** Never aborts: if the client is gone, it finds the item when it asks again. */
const PATIENT = new AbortController().signal
const LABELS = ['user_id', 'category', 'title'] as const

/**
 * Uploads that go to the store without passing through this process. The client gets a form and posts the file with it.
 * Afterwards the file is ingested.
 */
export function createDirectUploads ({
  uploads,
  library,
  media,
  uploadRecords,
  ingest,
  decode,
  publish,
  quota,
  limit,
  lifeSeconds,
  now
}: DirectUploadsOptions) {
  return { offer, complete }

  /**
   * Returns a form that posts one object of this type and size to its own place outside the library. 400; 413, also
   * beyond the quota, for which open uploads count; 429 while too many are open.
   */
  async function offer (
    { content_type: contentType, size, ...said }: DirectUploadRequest,
    owner: ObjectId
  ): Promise<DirectUpload> {
    validateLabels(said)
    if (size > limit) throw fileTooLarge(limit)
    const key = newStagingKey()
    const expiresAt = new Date(now().getTime() + lifeSeconds * 1000)
    const record: UploadDocument = {
      _id: new ObjectId(),
      key: '',
      owner,
      state: 'staged',
      started_at: now(),
      staging: { key, content_type: contentType, size, expires_at: expiresAt, fields: uploadedFields(said) }
    }
    await quota.stage(owner, record._id, size, expiresAt)
    await uploadRecords.begin(record)
    return {
      id: record._id.toHexString(),
      ...await media.presignPost(key, contentType, size, lifeSeconds),
      expires_at: expiresAt.toISOString()
    }
  }

  /**
   * Ingests the posted file, like an upload in the body of a request. The bytes that are read here are served, whatever
   * the client posts with the form later. A repeat returns the same item. 400 for refused bytes, which are removed; 404
   * for an upload that is not the account's; 409 while nothing is posted or another request completes it.
   */
  async function complete (id: string, owner: ObjectId, log: Log): Promise<LibraryDocument> {
    const _id = new ObjectId(id)
    const record = await uploads.findOne({ _id, staging: { $exists: true }, owner })
    if (!record) return completed(_id, owner)
    if (record.state !== 'staged') throw uploadUnderWay()
    const posted = await wrapStoreFailure(media.get(record.staging!.key))
    if (!posted) throw nothingUploaded()
    try {
      if (posted.size !== record.staging!.size) {
        await wrapStoreFailure(Promise.reject(new Error('the store gives another size than its form let through')))
      }
      return await uploadRecords.watch(ingestStaged(record, posted, log))
    } finally {
      posted.body.destroy()
    }
  }

  async function close ({ _id, owner }: UploadDocument): Promise<void> {
    if (owner !== undefined) await quota.unstage(owner, _id)
  }

  async function completed (_id: ObjectId, owner: ObjectId): Promise<LibraryDocument> {
    const item = await library.findOne({ _id, owner })
    if (!item) throw uploadNotFound()
    return item
  }

  async function ingestStaged (
    staged: UploadDocument,
    { body, size }: { body: AsyncIterable<Buffer>, size: number },
    log: Log
  ): Promise<LibraryDocument> {
    const staging = staged.staging!
    const chunks = body[Symbol.asyncIterator]()
    let record: UploadDocument | undefined
    let file: StoredFile | undefined
    try {
      const { head, type } = await wrapStoreFailure(detectType(chunks))
      const key = newItemKey(type?.extension ?? 'none')
      record = await uploadRecords.resume(staged, key)
      if (!record) throw uploadUnderWay()
      if (!type) throw unsupportedFileType()
      const incoming = { chunks: fromStore(chunks), head, type, minBytes: size, maxBytes: size }
      file = await ingest(incoming, key, PATIENT)
      const [, picture] = await allEnded([file.stored, decode(file, staging.fields.fit)])
      const item = await publish({ record, fields: staging.fields, file, picture }, log)
      await close(record)
      await media.removeObject(staging.key).catch((err: unknown) => {
        log.warn({ event: 'upload.cleanup_failed', key: staging.key, err }, 'A posted file could not be removed: a sweep does it')
      })
      return item
    } catch (error) {
      // after other failures the client can complete it later
      if (record && isRefusal(error)) await close(record)
      await uploadRecords.abandon(record, error, log)
      throw error
    } finally {
      file?.release()
    }
  }
}

/** Checks the labels of a file by the same rules as in a form. */
function validateLabels (fields: Partial<Record<typeof LABELS[number], string>>): void {
  const wrong = LABELS.filter(name => fields[name] !== undefined && !isLabel(fields[name]))
  if (wrong.length > 0) {
    throw new FieldError(Object.fromEntries(wrong.map(name => [name, [sentences.length(1, MAX_LABEL)]])))
  }
}

async function * fromStore (chunks: AsyncIterator<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  for (let next = await wrapStoreFailure(chunks.next()); !next.done; next = await wrapStoreFailure(chunks.next())) {
    yield next.value
  }
}
