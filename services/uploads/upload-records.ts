import { S3ServiceException } from '@aws-sdk/client-s3'
import { ObjectId, type Collection } from 'mongodb'
import type { LibraryDocument, UploadDocument } from '../../schemas/documents.js'
import { isRefusal, requestUnderWay, ServiceError, wrapFailure } from '../errors.js'
import { folderOf } from '../library/object-keys.js'
import type { Clock, Log, MediaStore, Ownership } from '../ports.js'
import { retry } from '../retry.js'
import { settledWithin } from '../settled-within.js'

/** Milliseconds that a refusal waits for its clean-up before it is answered. The clean-up goes on. */
const CLEANUP_WAIT_MS = 500
const MAX_CLEANUP_ATTEMPTS = 100
/** Milliseconds that `close` waits for uploads, and then again for their clean-up. */
const CLOSE_MS = 900

export interface UploadRecordsOptions {
  uploads: Collection<UploadDocument>
  library: Collection<LibraryDocument>
  ownership: Pick<Ownership, 'settle'>
  media: MediaStore
  now: Clock
}

/**
 * The upload records. A row exists before the first byte is stored, and until the item is in the library or nothing of
 * it is left.
 */
export function createUploadRecords ({ uploads, library, ownership, media, now }: UploadRecordsOptions) {
  const stopping = new AbortController()
  const cleaning = new Set<Promise<boolean>>()
  const flying = new Set<Promise<unknown>>()
  return { watch, begin, resume, commit, settle, abandon, close }

  /** Settles as the upload does. `close` waits for it. */
  async function watch<T> (upload: Promise<T>): Promise<T> {
    flying.add(upload)
    try {
      return await upload
    } finally {
      flying.delete(upload)
    }
  }

  /** Writes the row of an upload before anything is stored. */
  async function begin (row: UploadDocument): Promise<void> {
    await uploads.insertOne(row)
  }

  /** Opens a staged row before anything is stored under `key`. False if another request has opened it or it is gone. */
  async function resume (row: UploadDocument, key: string): Promise<boolean> {
    const opened = { key, state: 'open', started_at: now() } as const
    const { matchedCount } = await uploads.updateOne({ _id: row._id, state: 'staged' }, { $set: opened })
    if (matchedCount === 0) return false
    Object.assign(row, opened)
    return true
  }

  /**
   * Adds the item of an upload to the library, complete for every reader. Rejects if a sweep has claimed the upload.
   */
  async function commit ({ _id }: UploadDocument, item: LibraryDocument): Promise<LibraryDocument> {
    const { matchedCount } = await uploads.updateOne({ _id, state: 'open' }, { $set: { state: 'committing' } })
    if (matchedCount === 0) throw new Error('the upload was given up for dead before it ended')
    await library.insertOne(item)
    return release(item)
  }

  /** Settles the ownership of the item, then deletes the row of the committed upload. */
  async function release (item: LibraryDocument): Promise<LibraryDocument> {
    const { _id } = item
    const settled = await ownership.settle(item)
    const { deletedCount } = await uploads.deleteOne({ _id, state: 'committing' })
    if (deletedCount === 0 && !await isSettled(_id)) {
      throw new Error('the upload was given up for dead while it was committed')
    }
    return settled
  }

  /**
   * Ends an upload that wrote its item, for a request that repeats it: the first request may be dead, or may still find
   * it ended. False if the item is gone; 409 if it may still go.
   */
  async function settle (item: LibraryDocument): Promise<boolean> {
    const { _id } = item
    const { matchedCount } = await library.updateOne({ _id }, { $set: { 'upload_key.replayed': true } })
    if (matchedCount === 0) return false
    const row = await uploads.findOne({ _id })
    if (row?.state === 'committing') await release(item)
    else if (row) throw requestUnderWay()
    return true
  }

  async function isSettled (_id: ObjectId): Promise<boolean> {
    const item = await library.findOne({ _id, 'upload_key.replayed': true })
    return item !== null && !await uploads.findOne({ _id })
  }

  /**
   * Removes what an upload left because of `error`, and retries while the store or the database is away. Resolves after
   * at most 500 ms; the removal goes on. A direct upload that failed, but was not refused, is staged again.
   */
  async function abandon (row: UploadDocument, error: unknown, log: Log): Promise<void> {
    if (row.key === '') return
    const again = row.staging !== undefined && !isRefusal(error)
    await settledWithin(cleanUp(row, again, isDoubtful(error), log), CLEANUP_WAIT_MS)
  }

  function cleanUp (row: UploadDocument, again: boolean, doubtful: boolean, log: Log): Promise<boolean> {
    const { key, owner, staging } = row
    const note: UploadDocument = {
      _id: again ? new ObjectId() : row._id,
      key,
      ...(owner !== undefined && { owner }),
      state: 'removing',
      started_at: now(),
      ...(staging && !again && { staging })
    }
    const onFailure = (err: unknown) => {
      log.warn({ event: 'upload.cleanup_failed', key, err }, 'The objects of a failed upload could not be removed yet')
    }
    const work = retry(() => removeAll(row, note, again, doubtful), {
      attempts: MAX_CLEANUP_ATTEMPTS,
      signal: stopping.signal,
      onFailure
    }).finally(() => cleaning.delete(work))
    cleaning.add(work)
    return work
  }

  /**
   * The note tells a sweep what to remove, even if a sweep has claimed the upload or deleted its row. It stays, without
   * an owner, if the store may still carry out a write that it did not answer.
   */
  async function removeAll (
    { _id, key, staging }: UploadDocument,
    note: UploadDocument,
    again: boolean,
    doubtful: boolean
  ): Promise<void> {
    await uploads.replaceOne({ _id: note._id }, note, { upsert: true })
    await library.deleteOne({ _id, 'upload_key.replayed': { $ne: true } })
    if (await library.findOne({ _id })) {
      await uploads.deleteOne({ _id: note._id, state: 'removing' })
      return
    }
    await media.remove(folderOf(key))
    if (again) {
      await uploads.updateOne({ _id, key, state: { $in: ['open', 'committing'] } }, {
        $set: { key: '', state: 'staged' }
      })
    } else if (staging) await media.removeObject(staging.key)
    if (doubtful) await uploads.updateOne({ _id: note._id }, { $unset: { owner: '' } })
    else await uploads.deleteOne({ _id: note._id, state: 'removing' })
  }

  /**
   * Waits a limited time for uploads that were cut off, then for the last attempts of clean-ups. A sweep removes the
   * rest.
   */
  async function close (): Promise<void> {
    await settledWithin(Promise.allSettled(flying), CLOSE_MS)
    stopping.abort()
    await settledWithin(Promise.all(cleaning), CLOSE_MS)
  }
}

const STORE_FAILED = 'Failed to upload file to S3'

/** Turns a failure of the store into the contract's error. */
export const wrapStoreFailure = <T>(work: Promise<T>) => wrapFailure(STORE_FAILED, true, work)

/** Whether the outcome of a write is unknown: the store may still carry it out. */
const isDoubtful = (error: unknown) =>
  error instanceof ServiceError &&
    error.message === STORE_FAILED &&
    !(error.cause instanceof S3ServiceException && error.cause.$response !== undefined)
