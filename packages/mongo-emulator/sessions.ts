import { Binary } from 'bson'
import { decode } from './decode.js'
import { encode } from './encode.js'
import { CommandError } from './errors.js'
import type { Storage } from './storage.js'
import { isDoc, type Doc, type Value } from './values.js'

/** MongoDB's `localLogicalSessionTimeoutMinutes`. */
const TIMEOUT_MS = 30 * 60 * 1000

/** The retryable write that a command belongs to. */
export interface RetryableWrite { session: string, txnNumber: bigint }

/**
 * The results of retryable writes, kept beside the data and written in the same transaction. A statement that is sent
 * again under the same `txnNumber` does not run. It gets the earlier answer, also after a restart.
 */
export class Sessions {
  readonly #storage: Storage
  readonly #now: () => Date

  constructor (storage: Storage, now: () => Date) {
    this.#storage = storage
    this.#now = now
  }

  /**
   * The statements done under this `txnNumber`, by number. Throws CommandError 225 when a later one was used already.
   */
  done ({ session, txnNumber }: RetryableWrite): Map<string, Value> {
    const stored = this.#read(session)
    if (stored === undefined) return new Map()
    const last = stored.get('txnNumber')
    if (typeof last === 'bigint' && last > txnNumber) {
      throw new CommandError(
        225,
        `Retryable write with txnNumber ${txnNumber} is prohibited on session ${session} because a newer retryable write with txnNumber ${last} has already started on this session.`
      )
    }
    const statements = stored.get('statements')
    return last === txnNumber && isDoc(statements) ? statements : new Map()
  }

  record ({ session, txnNumber }: RetryableWrite, statements: Map<string, Value>): void {
    const doc: Doc = new Map<string, Value>([
      ['txnNumber', txnNumber],
      ['usedAt', this.#now()],
      ['statements', statements]
    ])
    this.#storage.sessions.putSync(Buffer.from(session), encode(doc))
  }

  /** Forgets sessions not written to for 30 minutes; to be run within a transaction. */
  expire (): void {
    const oldest = this.#now().getTime() - TIMEOUT_MS
    for (const { key, value } of [...this.#storage.sessions.getRange()]) {
      const usedAt = decode(value).get('usedAt')
      if (usedAt instanceof Date && usedAt.getTime() < oldest) this.#storage.sessions.removeSync(key)
    }
  }

  #read (session: string): Doc | undefined {
    const raw = this.#storage.sessions.get(Buffer.from(session))
    return raw === undefined ? undefined : decode(raw)
  }
}

/** The retryable write a command is part of, if it is. */
export function retryableWriteOf (command: Doc): RetryableWrite | undefined {
  const txnNumber = command.get('txnNumber')
  if (txnNumber === undefined) return undefined
  const lsid = command.get('lsid')
  const id = isDoc(lsid) ? lsid.get('id') : undefined
  if (typeof txnNumber !== 'bigint' || !(id instanceof Binary)) {
    throw new CommandError(72, 'Transaction number requires a session ID to also be specified')
  }
  return { session: id.toString('hex'), txnNumber }
}
