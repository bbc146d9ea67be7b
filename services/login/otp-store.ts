import { randomBytes } from 'node:crypto'
import { MongoBulkWriteError, type AnyBulkWriteOperation, type Collection } from 'mongodb'
import type { CounterDocument, OtpDocument } from '../../schemas/documents.js'
import { isDuplicateKey } from '../errors.js'
import { withinDeadline } from '../request-deadline.js'
import { retryConflict } from '../retry.js'
import type { CounterOperation, CounterWrite } from './hour-counts.js'
import { initial, type OtpOutcome, type OtpState } from './otp.js'
import type { SmsDecision } from './sms-guard.js'

const LIFE_MS = 25 * 3600 * 1000

export type OtpCollection = Collection<OtpDocument | CounterDocument>
export type Counters = Map<string, CounterDocument>

/** The new state of a phone, and the counts in the same write. */
export interface Decision { state: OtpState, outcome: OtpOutcome, writes?: CounterWrite[] }

/** A change of a phone's state. `beside` is read while the store reads, and given to the decision. */
export interface Change<Beside = unknown> {
  /** The counters that the decision reads. */
  ids?: string[]
  beside?: Promise<Beside>
  at: Date
  /** Pure: it runs again after each lost race. */
  decide: Decide<Beside>
}

type Decide<Beside> = (state: OtpState, counters: Counters, beside: Beside) => Decision

/** A finished write. A later write can tell by it that no other came between. */
export interface Written { writeId: string, state: OtpState }
export interface Applied extends Decision { written?: Written }

interface Queued {
  ids: string[]
  at: Date
  decide: Promise<(state: OtpState, counters: Counters) => Decision>
  resolve: (applied: Applied) => void
  reject: (error: unknown) => void
}

/** The phone's state in a document. A document of an earlier version of this service has none. */
export const stateOf = (document: OtpDocument | CounterDocument | null | undefined): OtpDocument | undefined =>
  document && 'write_id' in document ? document : undefined

/**
 * The stored documents of the login: one for each phone, changed by compare-and-set on its `write_id`, and the
 * counters.
 */
export function createOtpStore (otps: OtpCollection) {
  /** One queue for each phone with work: never more queues than requests. */
  const queues = new Map<string, Queued[]>()
  return { apply, amend, count, cancel, find }

  /**
   * Changes that arrive while one is under way wait and are applied together, by one read and one write. Else a flood
   * of guesses would lose race after race against itself, and take every connection. A failure fails all waiting
   * changes, so that no request waits in the queue for a lost database.
   */
  function apply<Beside> (phone: string, { ids = [], beside, at, decide }: Change<Beside>): Promise<Applied> {
    const ready = Promise.resolve(beside).then(value =>
      (state: OtpState, counters: Counters) => decide(state, counters, value as Beside))
    ready.catch(() => {}) // the change fails with it when its turn comes
    return withinDeadline(() => new Promise((resolve, reject) => {
      const queue = queues.get(phone)
      const queued: Queued = { ids, at, decide: ready, resolve, reject }
      queue?.push(queued)
      if (queue) return
      queues.set(phone, [queued])
      serve(phone).catch(reject)
    }))
  }

  async function serve (phone: string): Promise<void> {
    const queue = queues.get(phone)!
    while (queue.length > 0) {
      const batch = queue.splice(0)
      try {
        const applied = await compareAndSet(phone, batch)
        queue.unshift(...batch.slice(applied.length))
        applied.forEach((one, i) => batch[i]!.resolve(one))
      } catch (error) {
        for (const { reject } of [...batch, ...queue.splice(0)]) reject(error)
      }
    }
    queues.delete(phone)
  }

  /**
   * Applies the changes in order, up to the first that sends an SMS: that one changes the counters that the others
   * read.
   */
  function compareAndSet (phone: string, batch: Queued[]): Promise<Applied[]> {
    let attempt: { decisions: Decision[], written: Written } | undefined
    return retryConflict('the document of a phone', async () => {
      const [documents, ...decides] = await Promise.all([read(phone, batch), ...batch.map(({ decide }) => decide)])
      const stored = stateOf(documents.get(phone))
      if (attempt && stored?.write_id === attempt.written.writeId) return applied(attempt)
      const before: OtpState = stored ?? initial
      let state = before
      const decisions: Decision[] = []
      for (const decide of decides) {
        const decision = decide(state, documents as Counters)
        decisions.push(decision)
        state = decision.state
        if (decision.outcome.type === 'send') break
      }
      if (state === before) return decisions
      const written = { writeId: randomBytes(12).toString('base64url'), state }
      attempt = { decisions, written }
      const writes = decisions.flatMap(({ writes = [] }) => writes)
      const at = batch[decisions.length - 1]!.at
      return await write({ phone, readId: stored?.write_id, written, at }, writes) ? applied(attempt) : undefined
    })
  }

  async function read (phone: string, batch: Queued[]): Promise<Map<string, OtpDocument | CounterDocument>> {
    const ids = new Set([phone, ...batch.flatMap(({ ids }) => ids)])
    const documents = await otps.find({ _id: { $in: [...ids] } }).toArray()
    return new Map(documents.map(document => [document._id, document]))
  }

  /**
   * Writes the counters, each within its bound, and then the phone's document, if no other write came since the read.
   * False where a bound or a race stopped that. Then nothing stays counted or, where the driver repeated a write whose
   * answer was lost, nothing counts twice.
   */
  async function write (replacement: Replacement, writes: CounterWrite[]): Promise<boolean> {
    try {
      await bulkWrite([...writes.map(({ operation }) => operation), replace(replacement)])
      return true
    } catch (error) {
      if (!(error instanceof MongoBulkWriteError) || !isDuplicateKey(error)) {
        if (await isWritten(replacement)) return true
        throw error
      }
      const undo = writes.slice(0, [error.writeErrors].flat()[0]?.index).flatMap(({ undo }) => undo)
      if (undo.length > 0) await bulkWrite(undo)
      return false
    }
  }

  /** Changes what was just written, with one command if no other write came since. `undo` is done in any case. */
  async function amend (
    phone: string,
    { writeId, state }: Written,
    { at, decide }: Change<undefined>,
    undo: CounterOperation[]
  ): Promise<void> {
    const { state: amended } = decide(state, new Map(), undefined)
    const written = { writeId: randomBytes(12).toString('base64url'), state: amended }
    try {
      await bulkWrite([...undo, replace({ phone, readId: writeId, written, at })])
    } catch (error) {
      if (!isDuplicateKey(error)) throw error
      await apply(phone, { at, decide })
    }
  }

  /** Counts an SMS that has no phone by the counter `_id`, if the decision allows it. Returns the decision. */
  function count (_id: string, decide: (counters: Counters) => SmsDecision): Promise<SmsDecision> {
    return retryConflict('a counter of SMS', async () => {
      const found = await otps.findOne({ _id })
      const decision = decide(new Map(found ? [[_id, found as CounterDocument]] : []))
      if (decision.type === 'stopped' || decision.writes.length === 0) return decision
      try {
        await bulkWrite(decision.writes.map(({ operation }) => operation))
        return decision
      } catch (error) {
        if (!isDuplicateKey(error)) throw error
      }
    })
  }

  async function cancel (writes: CounterWrite[]): Promise<void> {
    if (writes.length > 0) await bulkWrite(writes.flatMap(({ undo }) => undo))
  }

  /** The stored state of a phone, if any. */
  async function find (phone: string): Promise<OtpDocument | undefined> {
    return stateOf(await otps.findOne({ _id: phone }))
  }

  /** Whether a write whose answer was lost was done. */
  async function isWritten ({ phone, written: { writeId } }: Replacement): Promise<boolean> {
    const finding = otps.findOne({ _id: phone, write_id: writeId }, { projection: { _id: 1 } })
    return finding.then(found => found !== null, () => false)
  }

  async function bulkWrite (operations: Array<AnyBulkWriteOperation<OtpDocument> | CounterOperation>): Promise<void> {
    await otps.bulkWrite(operations as Array<AnyBulkWriteOperation<OtpDocument | CounterDocument>>, { ordered: true })
  }
}

const applied = ({ decisions, written }: { decisions: Decision[], written: Written }): Applied[] =>
  decisions.map(decision => ({ ...decision, written }))

/** A new document of a phone, in place of the one with the `write_id` that was read. */
interface Replacement { phone: string, readId: string | undefined, written: Written, at: Date }

/**
 * Replaces the phone's document, built member by member. No `write_id` is null: that filter finds a document of an
 * earlier version, or none. After another write, the insert fails on the existing `_id`.
 */
function replace ({ phone, readId, written: { writeId, state }, at }: Replacement): AnyBulkWriteOperation<OtpDocument> {
  const replacement: Omit<OtpDocument, '_id'> = {
    write_id: writeId,
    challenge: state.challenge,
    sms: state.sms,
    failures: state.failures,
    locked_until: state.locked_until,
    ...(state.undelivered_at && { undelivered_at: state.undelivered_at }),
    expires_at: new Date(at.getTime() + LIFE_MS)
  }
  return {
    replaceOne: { filter: { _id: phone, write_id: readId ?? null as unknown as string }, replacement, upsert: true }
  }
}
