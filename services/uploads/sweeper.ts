import type { Collection, Filter, ObjectId, WithId } from 'mongodb'
import type {
  LibraryDocument,
  ReportDocument,
  ReportStateDocument,
  UploadDocument
} from '../../schemas/documents.js'
import { folderOf, INCOMING, isItemFolder, LIBRARY, objectsIn, objectsOf, within } from '../library/object-keys.js'
import { createObjectRemoval } from '../library/remove-objects.js'
import type { Clock, Log, MediaStore, Ownership, UnfinishedDeletions } from '../ports.js'
import { settledWithin } from '../settled-within.js'
import type { createLease } from '../lease.js'

/** Added to an upload's longest time, for its last writes and for clocks that differ. */
const MARGIN_SECONDS = 60
const BATCH_SIZE = 100
const CLOSE_MS = 900

export interface SweeperOptions {
  uploads: Collection<UploadDocument>
  library: Collection<LibraryDocument>
  reports: Collection<ReportDocument>
  report_states: Collection<ReportStateDocument>
  media: MediaStore
  ownership: Pick<Ownership, 'checkOwner'>
  deletion: UnfinishedDeletions
  lease: ReturnType<typeof createLease>
  /** Corrects the total of the library; at once if `isSuspicious`. */
  checkTotal: (isSuspicious: boolean) => Promise<void>
  /** Ends the own lists of accounts without a hidden item. */
  clearFormerOwners: () => Promise<void>
  /** The longest an upload may take. */
  longestSeconds: number
  now: Clock
  log: Log
}

/** Counts of what a round removed, and of its failures. */
export interface Swept {
  uploads: number
  multipart_uploads: number
  staged: number
  accounts: number
  failed: number
}

interface Task {
  kind: Exclude<keyof Swept, 'failed'>
  about: { id?: string, key?: string }
  /** False if there was nothing to do. */
  run: () => Promise<boolean>
}

/**
 * Removes what interrupted uploads and deletions left: objects, parts and posted files without a record, and accounts
 * whose deletion began longer ago than any upload may last. One sweep does both, because an account can go only when no
 * upload of it is left, and because both need the same lease.
 */
export function createSweeper ({
  uploads,
  library,
  reports,
  report_states: states,
  media,
  ownership,
  deletion,
  lease,
  checkTotal,
  clearFormerOwners,
  longestSeconds,
  now,
  log
}: SweeperOptions) {
  const stopping = new AbortController()
  const removeObjects = createObjectRemoval({ library, media, reports, report_states: states })
  let working: Promise<unknown> = Promise.resolve()
  /** Whether this round has met an upload or a deletion that died with its item written or deleted. */
  let mayBeUnversioned = false
  return { sweep, close }

  /**
   * Runs one round after the current one. Undefined if another process holds the lease. A failure is logged and left to
   * the next round.
   */
  function sweep (): Promise<Swept | undefined> {
    const round = working.then(sweepOnce)
    working = round.catch(() => {})
    return round
  }

  /** Stops the current round after its present step. Waits for that at most CLOSE_MS. */
  async function close (): Promise<void> {
    stopping.abort()
    await settledWithin(working, CLOSE_MS)
  }

  async function sweepOnce (): Promise<Swept | undefined> {
    if (stopping.signal.aborted || !await lease.hold()) return undefined
    mayBeUnversioned = false
    const swept: Swept = { uploads: 0, multipart_uploads: 0, staged: 0, accounts: 0, failed: 0 }
    for (const tasks of [staleUploads, strayMultipartUploads, strayStaged, deletedAccounts]) {
      if (!stopping.signal.aborted) await doAll(tasks(), swept)
    }
    if (!stopping.signal.aborted) {
      await checkTotal(mayBeUnversioned).catch(failed('The items of the library could not be counted'))
      await clearFormerOwners().catch(failed('The owners of hidden items could not be looked up'))
    }
    await lease.release().catch((err: unknown) => {
      log.warn({ event: 'sweep.failed', err }, 'The lease of the sweeper could not be released: it runs out by itself')
    })
    if (Object.values(swept).some(count => count > 0)) log.info({ event: 'sweep.finished', ...swept })
    return swept

    function failed (sentence: string) {
      return (err: unknown): void => {
        if (stopping.signal.aborted) return
        swept.failed++
        log.error({ event: 'sweep.failed', err }, `${sentence}: the next sweep does it`)
      }
    }
  }

  async function doAll (tasks: AsyncIterable<Task>, swept: Swept): Promise<void> {
    const failed = (err: unknown, about: Task['about'] = {}) => {
      swept.failed++
      log.error({ event: 'sweep.failed', ...about, err }, 'A step of the sweep failed: the next sweep does it')
    }
    try {
      for await (const { kind, about, run } of tasks) {
        if (stopping.signal.aborted || !await lease.hold()) return
        await run().then(done => { if (done) swept[kind]++ }, (err: unknown) => failed(err, about))
      }
    } catch (err) { failed(err) }
  }

  async function * staleUploads (): AsyncGenerator<Task> {
    const stale = staleAt(now())
    for (let last: ObjectId | undefined; ;) {
      const records = await uploads
        .find(last ? { $and: [{ _id: { $gt: last } }, stale] } : stale)
        .sort({ _id: 1 })
        .limit(BATCH_SIZE)
        .toArray()
      for (const record of records) {
        yield { kind: 'uploads', about: { id: record._id.toHexString() }, run: () => sweepUpload(record) }
      }
      if (records.length < BATCH_SIZE) return
      last = records.at(-1)!._id
    }
  }

  /** A direct upload can be completed at any time until its form expires. */
  function staleAt (at: Date): Filter<UploadDocument> {
    const margin = before(at, MARGIN_SECONDS)
    const longest = before(at, longestSeconds + MARGIN_SECONDS)
    const tooOld = { $not: { $gt: longest } }
    return {
      $or: [
        { state: { $in: ['open', 'committing'] }, started_at: { $lte: longest }, 'staging.expires_at': tooOld },
        { state: 'staged', 'staging.expires_at': { $lte: margin } },
        { state: 'removing', started_at: { $lte: margin } },
        { state: 'sweeping' }
      ]
    }
  }

  /**
   * Claims the record first: a process that still works on the upload finds it claimed or gone, and gives up. A
   * removal needs no claim, because nothing takes an old one back.
   */
  async function sweepUpload (record: WithId<UploadDocument>): Promise<boolean> {
    const { _id, state, started_at: startedAt } = record
    if (state !== 'open' && state !== 'staged') mayBeUnversioned = true
    if (state === 'removing') return discard(record)
    const claimed = await uploads.findOneAndUpdate(
      { _id, state, started_at: startedAt },
      { $set: { state: 'sweeping' } },
      { returnDocument: 'after' }
    )
    if (!claimed) return false
    const item = await library.findOne({ _id })
    return item && await isWhole(item) ? keep(claimed, item) : discard(claimed)
  }

  /** Whether all objects are there. An interrupted sweep may have removed some before the upload wrote its item. */
  async function isWhole (item: LibraryDocument): Promise<boolean> {
    const present = await objectsIn(folderOf(item.key ?? ''), media)
    return [...objectsOf(item).keys()].every(key => present.has(key))
  }

  /** Does what the upload does at its end. */
  async function keep ({ _id, staging }: WithId<UploadDocument>, item: LibraryDocument): Promise<boolean> {
    if (staging) await media.removeObject(staging.key)
    await ownership.checkOwner(item)
    const { deletedCount } = await uploads.deleteOne({ _id, state: 'sweeping' })
    return deletedCount === 1
  }

  /** Deletes the record last, so that a failure is retried. An item that is written meanwhile is deleted too. */
  async function discard ({ _id, key, state, staging }: WithId<UploadDocument>): Promise<boolean> {
    await library.deleteOne({ _id })
    if (key !== '') await (state === 'removing' ? removeObjects(_id, key) : removeFolder(folderOf(key)))
    if (staging) await media.removeObject(staging.key)
    await library.deleteOne({ _id })
    const { deletedCount } = await uploads.deleteOne({ _id, state: state === 'removing' ? state : 'sweeping' })
    return deletedCount === 1
  }

  async function removeFolder (folder: string): Promise<void> {
    if (!isItemFolder(folder)) throw new Error(`the folder ${folder} of an upload record is not that of an item, so nothing of it is removed`)
    await media.remove(folder)
  }

  /**
   * An upload's row exists before the store knows the upload, and until the store has forgotten it. So the row is
   * looked up after the listing.
   */
  async function * strayMultipartUploads (): AsyncGenerator<Task> {
    for await (const { key, uploadId } of media.unfinished(LIBRARY)) {
      yield {
        kind: 'multipart_uploads',
        about: { key },
        async run () {
          if (await uploads.findOne(within(folderOf(key)))) return false
          await media.abort(key, uploadId)
          return true
        }
      }
    }
  }

  async function * strayStaged (): AsyncGenerator<Task> {
    for await (const { key } of media.list(INCOMING)) {
      yield {
        kind: 'staged',
        about: { key },
        async run () {
          if (await uploads.findOne({ 'staging.key': key })) return false
          await media.removeObject(key)
          return true
        }
      }
    }
  }

  /** Accounts that were deleted long enough ago that nothing of them is in progress. */
  async function * deletedAccounts (): AsyncGenerator<Task> {
    for (const id of await deletion.abandoned()) {
      yield { kind: 'accounts', about: { id: id.toHexString() }, run: () => deletion.finish(id) }
    }
  }
}

const before = (at: Date, seconds: number) => new Date(at.getTime() - seconds * 1000)
