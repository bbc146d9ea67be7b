import { S3ServiceException } from '@aws-sdk/client-s3'
import { ObjectId, type Collection } from 'mongodb'
import type { LibraryDocument, UploadDocument } from '../../schemas/documents.js'
import { isRefusal, requestUnderWay, ServiceError, wrapFailure } from '../errors.js'
import { folderOf } from '../library/object-keys.js'
import type { Clock, Log, MediaStore, Ownership } from '../ports.js'
import { retry } from '../retry.js'
import { settledWithin } from '../settled-within.js'

/** Milliseconds that a refusal waits for its clean-up before it is answered. The clean-up goes on. */
export const CLEANUP_WAIT_MS = 500
const MAX_CLEANUP_ATTEMPTS = 100
/** Milliseconds that `close` waits for uploads, and then again for their clean-up. */
const CLOSE_MS = 900

export interface UploadRecordsOptions {
  uploads: Collection<UploadDocument>
  library: Collection<LibraryDocument>
  ownership: Pick<Ownership, 'checkOwner'>
  media: MediaStore
  now: Clock
  cleanupWaitMs?: number
}

/**
 * The upload records. A record exists before the first byte is stored, and until the item is in the library or nothing
 * of it is left.
 */
export function createUploadRecords ({
  uploads,
  library,
  ownership,
  media,
  now,
  cleanupWaitMs = CLEANUP_WAIT_MS
}: UploadRecordsOptions) {
  const stopping = new AbortController()
  const cleaning = new Set<Promise<boolean>>()
  const inFlight = new Set<Promise<unknown>>()
  return { watch, begin, resume, commit, finishCommit, abandon, close }

  /** Settles as the upload does. `close` waits for it. */
  async function watch<T> (upload: Promise<T>): Promise<T> {
    inFlight.add(upload)
    try {
      return await upload
    } finally {
      inFlight.delete(upload)
    }
  }

  /** Writes the record of an upload before anything is stored. If this fails, it may be there all the same. */
  async function begin (record: UploadDocument): Promise<void> {
    await uploads.insertOne(record)
  }

  /**
   * Opens a staged record before anything is stored under `key`, and returns it. Undefined if another request has
   * opened it or it is gone.
   */
  async function resume (staged: UploadDocument, key: string): Promise<UploadDocument | undefined> {
    const opened = { key, state: 'open', started_at: now() } as const
    const { matchedCount } = await uploads.updateOne({ _id: staged._id, state: 'staged' }, { $set: opened })
    return matchedCount === 0 ? undefined : { ...staged, ...opened }
  }

  /**
   * Adds the item of an upload to the library, complete for every reader. Rejects if a sweep has claimed the upload.
   */
  async function commit ({ _id }: UploadDocument, item: LibraryDocument): Promise<LibraryDocument> {
    const { matchedCount } = await uploads.updateOne({ _id, state: 'open' }, { $set: { state: 'committing' } })
    if (matchedCount === 0) throw sweptTooEarly('before it was committed')
    await library.insertOne(item)
    return endCommit(item)
  }

  /** Takes the item's owner away if that account is deleted, then deletes the record of the committed upload. */
  async function endCommit (item: LibraryDocument): Promise<LibraryDocument> {
    const { _id } = item
    const owned = await ownership.checkOwner(item)
    const { deletedCount } = await uploads.deleteOne({ _id, state: 'committing' })
    if (deletedCount === 0 && !await isFinished(_id)) throw sweptTooEarly('while it was committed')
    return owned
  }

  /**
   * Finishes the commit of an upload that wrote its item, for a request that repeats it: the first request may be dead,
   * or may still find it ended. False if the item is gone; 409 if it may still go.
   */
  async function finishCommit (item: LibraryDocument): Promise<boolean> {
    const { _id } = item
    const { matchedCount } = await library.updateOne({ _id }, { $set: { 'upload_key.replayed': true } })
    if (matchedCount === 0) return false
    const record = await uploads.findOne({ _id })
    if (record?.state === 'committing') await endCommit(item)
    else if (record) throw requestUnderWay()
    return true
  }

  /** Whether a request that repeats the upload has finished its commit. */
  async function isFinished (_id: ObjectId): Promise<boolean> {
    const item = await library.findOne({ _id, 'upload_key.replayed': true })
    return item !== null && !await uploads.findOne({ _id })
  }

  /**
   * Removes what an upload left because of `error`, and retries while the store or the database is away. Resolves after
   * at most `cleanupWaitMs`; the removal goes on. A direct upload that failed, but was not refused, is staged again.
   * Undefined: nothing was begun.
   */
  async function abandon (record: UploadDocument | undefined, error: unknown, log: Log): Promise<void> {
    if (!record) return
    const failed: FailedUpload = {
      record,
      isStagedAgain: record.staging !== undefined && !isRefusal(error),
      isOutcomeUnknown: isOutcomeUnknown(error)
    }
    await settledWithin(cleanUp(failed, log), cleanupWaitMs)
  }

  function cleanUp (failed: FailedUpload, log: Log): Promise<boolean> {
    const { key } = failed.record
    const removal = removalOf(failed)
    const work = retry(() => removeAll(failed, removal), {
      attempts: MAX_CLEANUP_ATTEMPTS,
      signal: stopping.signal,
      onFailure (err) {
        log.warn(
          { event: 'upload.cleanup_failed', key, err },
          'The objects of a failed upload could not be removed yet: it is tried again, and a sweep does the rest'
        )
      }
    }).finally(() => cleaning.delete(work))
    cleaning.add(work)
    return work
  }

  /** The record that tells a sweep what to remove, even if a sweep has claimed the upload or deleted its record. */
  function removalOf ({ record: { _id, key, owner, staging }, isStagedAgain }: FailedUpload): UploadDocument {
    return {
      _id: isStagedAgain ? new ObjectId() : _id,
      key,
      ...(owner !== undefined && { owner }),
      state: 'removing',
      started_at: now(),
      ...(staging && !isStagedAgain && { staging })
    }
  }

  /**
   * Removes the item and the objects. The record of the removal stays, without an owner, if the store may still carry
   * out a write that it did not answer.
   */
  async function removeAll (
    { record: { _id, key, staging }, isStagedAgain, isOutcomeUnknown }: FailedUpload,
    removal: UploadDocument
  ): Promise<void> {
    const written = { _id: removal._id, state: 'removing' } as const
    await uploads.replaceOne({ _id: removal._id }, removal, { upsert: true })
    await library.deleteOne({ _id, 'upload_key.replayed': { $ne: true } })
    if (await library.findOne({ _id })) {
      await uploads.deleteOne(written)
      return
    }
    await media.remove(folderOf(key))
    if (isStagedAgain) {
      await uploads.updateOne({ _id, key, state: { $in: ['open', 'committing'] } }, {
        $set: { key: '', state: 'staged' }
      })
    } else if (staging) await media.removeObject(staging.key)
    if (isOutcomeUnknown) await uploads.updateOne({ _id: removal._id }, { $unset: { owner: '' } })
    else await uploads.deleteOne(written)
  }

  /**
   * Waits a limited time for uploads that were cut off, then for the last attempts of clean-ups. A sweep removes the
   * rest.
   */
  async function close (): Promise<void> {
    await settledWithin(Promise.allSettled(inFlight), CLOSE_MS)
    stopping.abort()
    await settledWithin(Promise.all(cleaning), CLOSE_MS)
  }
}

/** An upload that failed. */
interface FailedUpload {
  record: UploadDocument
  /** The client may complete it later. */
  isStagedAgain: boolean
  /** The store may still carry out a write. */
  isOutcomeUnknown: boolean
}

const sweptTooEarly = (when: string) => new Error(
  `A sweep claimed this upload ${when}, because it took longer than UPLOAD_MAX_SECONDS: nothing of it is kept`
)

const STORE_FAILED = 'Failed to upload file to S3'

/** Turns a failure of the store into the contract's error. */
export const wrapStoreFailure = <T>(work: Promise<T>) => wrapFailure(STORE_FAILED, true, work)

/** Waits for all writes to the store. Of several failures, one whose outcome is unknown counts first. */
export async function allStored<T> (writes: Array<Promise<T>>): Promise<T[]> {
  const failures = (await Promise.allSettled(writes)).flatMap(write => write.status === 'rejected' ? [write.reason as unknown] : [])
  if (failures.length > 0) throw failures.find(isOutcomeUnknown) ?? failures[0]
  return Promise.all(writes)
}

/** Whether the outcome of a write is unknown: the store may still carry it out. */
const isOutcomeUnknown = (error: unknown) =>
  error instanceof ServiceError &&
    error.message === STORE_FAILED &&
    !(error.cause instanceof S3ServiceException && error.cause.$response !== undefined)
