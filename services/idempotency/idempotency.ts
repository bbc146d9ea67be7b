import { ObjectId, type Collection } from 'mongodb'
import type { IdempotencyDocument, StoredAnswer } from '../../schemas/documents.js'
import { requestUnderWay, ServiceError } from '../errors.js'
import { insertIfAbsent } from '../insert-if-absent.js'
import { keyedHash } from '../keyed-hash.js'
import type { Clock, KeyLock, Log } from '../ports.js'
import { retry, retryConflict } from '../retry.js'
import { settledWithin } from '../settled-within.js'

const KEPT_MS = 24 * 3600 * 1000
/** How long a failed request waits until its key is free. The work on that goes on. */
const WAIT_MS = 500
const MAX_ATTEMPTS = 100

export interface IdempotencyOptions {
  keys: Collection<IdempotencyDocument>
  secret: string
  /** A request that runs longer has died with its process. */
  longestSeconds: number
  now: Clock
  log: Log
}

/** Finds the result of a request that took its key at `since` and did not answer, by the key's digest. */
export type Recall = (digest: string, since: Date) => Promise<StoredAnswer | undefined>

/** The key is taken, or the request was answered before. */
export type Begun = { lock: KeyLock } | { answer: StoredAnswer }

/**
 * Keys that callers give to their requests, so that a retry has no second effect
 * (draft-ietf-httpapi-idempotency-key-header). They belong to an account, and go with it.
 */
export function createIdempotency ({ keys, secret, longestSeconds, now, log }: IdempotencyOptions) {
  const stopping = new AbortController()
  const working = new Set<Promise<boolean>>()
  return { begin, finish, forget, close }

  /**
   * Takes the key for a caller's request to a route, or gives the answer that such a request got in the last 24 hours.
   * 409 while one is running. A request that began longer ago than any may last loses its key. `recall` finds the
   * result of one that died before it could answer.
   */
  async function begin (owner: ObjectId, route: string, key: string, recall?: Recall): Promise<Begun> {
    const at = now()
    const row: IdempotencyDocument = {
      _id: keyedHash(secret, 'idempotency', [owner.toHexString(), route, key].join('\0')),
      owner,
      holder: new ObjectId(),
      begun_at: at,
      purge_at: later(at, KEPT_MS)
    }
    try {
      return await retryConflict('an Idempotency-Key', () => take(row, recall))
    } catch (error) {
      if (!(error instanceof ServiceError)) persist(() => remove(row)) // it may be there despite the error
      throw error
    }
  }

  /** Undefined after a lost race. */
  async function take (row: IdempotencyDocument, recall?: Recall): Promise<Begun | undefined> {
    if (await insertIfAbsent(keys, row)) return { lock: row }
    const found = await keys.findOne({ _id: row._id })
    if (!found) return undefined
    const recalled = !found.answer && found.purge_at > row.begun_at && await recall?.(found._id, found.begun_at)
    if (recalled) return { answer: recalled }
    if (isOver(found, row.begun_at)) {
      const { matchedCount } = await keys.replaceOne(
        { _id: found._id, holder: found.holder, answer: { $exists: found.answer !== undefined } },
        row
      )
      return matchedCount === 1 ? { lock: row } : undefined
    }
    if (!found.answer) throw requestUnderWay()
    return { answer: found.answer }
  }

  /** A row may outlive its end in the database; it does not count then. */
  function isOver ({ answer, begun_at: begun, purge_at: end }: IdempotencyDocument, at: Date): boolean {
    return end <= at || (!answer && later(begun, longestSeconds * 1000) <= at)
  }

  /**
   * Keeps the answer for 24 hours, unless another request took the key. Never rejects: the answer holds, stored or not.
   */
  async function finish (lock: KeyLock, answer: StoredAnswer): Promise<void> {
    await persist(async () => {
      const { matchedCount } = await keys.updateOne(ofHolder(lock), {
        $set: { answer, purge_at: later(now(), KEPT_MS) }
      })
      if (matchedCount === 0) {
        log.warn(
          { event: 'idempotency.taken_over', status: answer.status },
          'A request took longer than UPLOAD_MAX_SECONDS: its Idempotency-Key belongs to another one by now'
        )
      }
    })
  }

  /** Frees the key, unless another request took it. Never rejects. */
  async function forget (lock: KeyLock): Promise<void> {
    await settledWithin(persist(() => remove(lock)), WAIT_MS)
  }

  async function remove (lock: KeyLock): Promise<void> {
    await keys.deleteOne(ofHolder(lock))
  }

  /** Resolves after the first attempt; retries follow while the database is away. */
  function persist (write: () => Promise<unknown>): Promise<void> {
    return new Promise(resolve => {
      const onFailure = (err: unknown) => {
        log.warn({ event: 'idempotency.settle_failed', err }, 'The end of an Idempotency-Key could not be written yet')
        resolve()
      }
      const work = retry(write, { attempts: MAX_ATTEMPTS, signal: stopping.signal, onFailure }).finally(() => {
        working.delete(work)
        resolve()
      })
      working.add(work)
    })
  }

  /** Tries each unfinished write one last time. */
  async function close (): Promise<void> {
    stopping.abort()
    await Promise.all(working)
  }
}

const ofHolder = ({ _id, holder }: KeyLock) => ({ _id, holder, answer: { $exists: false } })
const later = (date: Date, ms: number) => new Date(date.getTime() + ms)
