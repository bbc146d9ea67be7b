import { randomBytes } from 'node:crypto'
import { MongoBulkWriteError, type AnyBulkWriteOperation, type Collection } from 'mongodb'
import type { CounterDocument, OtpDocument } from '../../schemas/documents.js'
import { withinDeadline } from '../request-deadline.js'
import { isDuplicateKey } from '../errors.js'
import type { CounterOperation, CounterWrite } from './hour-counts.js'
import { initial, type OtpOutcome, type OtpState } from './otp.js'

/** Races that may be lost in a row. Each is lost to another write; more mean another fault. */
const MAX_RACES = 100
const LIFE_MS = 25 * 3600 * 1000

export type OtpCollection = Collection<OtpDocument | CounterDocument>
export type Counters = Map<string, CounterDocument>

/** The new state of a phone, and the counts in the same write. */
export interface Decision { state: OtpState, outcome: OtpOutcome, writes?: CounterWrite[] }

export interface Change {
  /** The counters that the decision reads. */
  ids?: string[]
  /** Work that the decision awaits; it fails with it. */
  beside?: Promise<unknown>
  at: Date
  /** Pure, but for results that it remembers: it runs again after each lost race. */
  decide: (state: OtpState, counters: Counters) => Decision
}

/** A finished write. A later write can tell by it that no other came between. */
export interface Written { writeId: string, state: OtpState }
export interface Applied extends Decision { written?: Written }

interface Waiting extends Change { resolve: (applied: Applied) => void, reject: (error: unknown) => void }

/** The phone's state in a document. A document of an earlier version of this service has none. */
export const stateOf = (document: OtpDocument | CounterDocument | null | undefined): OtpDocument | undefined =>
  document && 'write_id' in document ? document : undefined

/**
 * The stored documents of the login: one for each phone, changed by compare-and-set on its `write_id`, and the
 * counters.
 */
export function createOtpStore (otps: OtpCollection) {
  /** One line for each phone with work: never more lines than requests. */
  const lines = new Map<string, Waiting[]>()
  return { apply, amend, count, cancel, find }

  /**
   * Changes that arrive while one is under way wait and are applied together, by one read and one write. Else a flood
   * of guesses would lose race after race against itself, and take every connection. A failure fails all waiting
   * changes, so that no request waits in line for a lost database.
   */
  function apply (phone: string, change: Change): Promise<Applied> {
    return withinDeadline(() => new Promise((resolve, reject) => {
      const line = lines.get(phone)
      line?.push({ ...change, resolve, reject })
      if (line) return
      lines.set(phone, [{ ...change, resolve, reject }])
      serve(phone).catch(reject)
    }))
  }

  async function serve (phone: string): Promise<void> {
    const line = lines.get(phone)!
    while (line.length > 0) {
      const batch = line.splice(0)
      try {
        const applied = await compareAndSet(phone, batch)
        line.unshift(...batch.slice(applied.length))
        applied.forEach((one, i) => batch[i]!.resolve(one))
      } catch (error) {
        for (const { reject } of [...batch, ...line.splice(0)]) reject(error)
      }
    }
    lines.delete(phone)
  }

  /**
   * Applies the changes in order, up to the first that sends an SMS: that one changes the counters that the others
   * read.
   */
  async function compareAndSet (phone: string, batch: Waiting[]): Promise<Applied[]> {
    let attempt: { decisions: Decision[], written: Written } | undefined
    for (let race = 0; race < MAX_RACES; race++) {
      const [documents] = await Promise.all([read(phone, batch), ...batch.map(({ beside }) => beside)])
      const stored = stateOf(documents.get(phone))
      if (attempt && stored?.write_id === attempt.written.writeId) return applied(attempt)
      const before: OtpState = stored ?? initial
      let state = before
      const decisions: Decision[] = []
      for (const { decide } of batch) {
        const decision = decide(state, documents as Counters)
        decisions.push(decision)
        state = decision.state
        if (decision.outcome.type === 'send') break
      }
      if (state === before) return decisions
      attempt = { decisions, written: { writeId: randomBytes(12).toString('base64url'), state } }
      const writes = decisions.flatMap(({ writes = [] }) => writes)
      if (await write(phone, stored?.write_id, attempt.written, writes, batch[decisions.length - 1]!.at)) {
        return applied(attempt)
      }
    }
    throw new Error('the document of a phone changed at every attempt')
  }

  async function read (phone: string, batch: Waiting[]): Promise<Map<string, OtpDocument | CounterDocument>> {
    const ids = new Set([phone, ...batch.flatMap(({ ids = [] }) => ids)])
    const documents = await otps.find({ _id: { $in: [...ids] } }).toArray()
    return new Map(documents.map(document => [document._id, document]))
  }

  /**
   * Writes the counters, each within its bound, and then the phone's document, if no other write came since the read.
   * False where a bound or a race stopped that. Then nothing stays counted or, where the driver repeated a write whose
   * answer was lost, nothing counts twice.
   */
  async function write (
    phone: string,
    readId: string | undefined,
    written: Written,
    writes: CounterWrite[],
    at: Date
  ): Promise<boolean> {
    try {
      await bulkWrite([...writes.map(({ operation }) => operation), replace(phone, readId, written, at)])
      return true
    } catch (error) {
      if (!(error instanceof MongoBulkWriteError) || !isDuplicateKey(error)) {
        if (await isWritten(phone, written)) return true
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
    { at, decide }: Change,
    undo: CounterOperation[]
  ): Promise<void> {
    const written = { writeId: randomBytes(12).toString('base64url'), state: decide(state, new Map()).state }
    try {
      await bulkWrite([...undo, replace(phone, writeId, written, at)])
    } catch (error) {
      if (!isDuplicateKey(error)) throw error
      await apply(phone, { at, decide })
    }
  }

  /**
   * Counts an SMS that has no phone by the counter `_id`. Returns what was written, or what `decide` returned instead.
   */
  async function count <Refusal> (_id: string, decide: (counters: Counters) => CounterWrite[] | Refusal): Promise<
    | CounterWrite[]
    | Refusal> {
    for (let race = 0; race < MAX_RACES; race++) {
      const found = await otps.findOne({ _id })
      const decided = decide(new Map(found ? [[_id, found as CounterDocument]] : []))
      if (!Array.isArray(decided) || decided.length === 0) return decided
      try {
        await bulkWrite(decided.map(({ operation }) => operation))
        return decided
      } catch (error) {
        if (!isDuplicateKey(error)) throw error
      }
    }
    throw new Error('a counter changed at every attempt')
  }

  async function cancel (writes: CounterWrite[]): Promise<void> {
    if (writes.length > 0) await bulkWrite(writes.flatMap(({ undo }) => undo))
  }

  /** The stored state of a phone, if any. */
  async function find (phone: string): Promise<OtpDocument | undefined> {
    return stateOf(await otps.findOne({ _id: phone }))
  }

  /** Whether a write whose answer was lost was done. */
  async function isWritten (phone: string, { writeId }: Written): Promise<boolean> {
    return await otps.findOne({ _id: phone, write_id: writeId }, { projection: { _id: 1 } }).then(
      found => found !== null,
      () => false
    )
  }

  async function bulkWrite (operations: Array<AnyBulkWriteOperation<OtpDocument> | CounterOperation>): Promise<void> {
    await otps.bulkWrite(operations as Array<AnyBulkWriteOperation<OtpDocument | CounterDocument>>, { ordered: true })
  }
}

const applied = ({ decisions, written }: { decisions: Decision[], written: Written }): Applied[] => decisions.map(
  decision => ({ ...decision, written })
)

/**
 * Replaces the phone's document, built member by member. No `write_id` is null: that filter finds a document of an
 * earlier version, or none. After another write, the insert fails on the existing `_id`.
 */
function replace (
  phone: string,
  readId: string | undefined,
  { writeId, state }: Written,
  at: Date
): AnyBulkWriteOperation<OtpDocument> {
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
