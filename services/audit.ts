import { MongoBulkWriteError, ObjectId, type Collection } from 'mongodb'
import type { AuditDocument } from '../schemas/documents.js'
import { maskAddress } from './address.js'
import { digest } from './digest.js'
import { DUPLICATE_KEY } from './errors.js'
import { maskPhone } from './phone.js'
import type { AuditEvent, Clock, Log } from './ports.js'

const KEPT_MS = 90 * 24 * 3600 * 1000
const FLUSH_MS = 200
const RETRY_MS = 5000
/** As many different events wait for the database at most; beyond it they are in the log alone, and their number too. */
const MOST_WAITING = 10_000

export interface AuditOptions {
  audit: Collection<AuditDocument>
  secret: string
  log: Log
  now: Clock
}

export interface Entry {
  event: AuditEvent
  phone: string | null
  address: string
  requestId: string
  details: AuditDocument['details']
}

/** Who did what from where, for 90 days: masked, and found again by a keyed digest of the number. */
export function createAudit ({ audit, secret, log, now }: AuditOptions) {
  let waiting = new Map<string, AuditDocument>()
  /** What could not be written yet. */
  let unwritten: AuditDocument[] = []
  let lost = 0
  let timer: NodeJS.Timeout | undefined
  let writing = Promise.resolve()
  return { add, each, flush, close }

  /** Notes an event; it is in the database a moment later. Equal ones of a moment become one row with a count, so that a flood of guesses is no flood of writes. */
  function add ({ event, phone, address, requestId, details }: Entry): void {
    const subject = phone === null ? null : subjectOf(phone)
    const network = maskAddress(address)
    const key = JSON.stringify([event, subject, network, details])
    const known = waiting.get(key)
    if (known) known.count++
    else if (waiting.size + unwritten.length >= MOST_WAITING) lost++
    else {
      const at = now()
      waiting.set(key, { _id: new ObjectId(), event, phone: phone === null ? null : maskPhone(phone), subject, network, request_id: requestId, at, count: 1, details, purge_at: new Date(at.getTime() + KEPT_MS) })
    }
    timer ??= setTimeout(flush, FLUSH_MS).unref()
  }

  /** Resolves when what was noted before is in the database, or could not be written: then it is tried again later. */
  function flush (): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    writing = writing.then(write)
    return writing
  }

  /** Writes what is left, for the last time. */
  async function close (): Promise<void> {
    await flush()
    clearTimeout(timer)
    lost += unwritten.length
    reportLost()
  }

  async function write (): Promise<void> {
    const rows = [...unwritten, ...waiting.values()]
    unwritten = []
    waiting = new Map()
    if (rows.length > 0) await audit.insertMany(rows, { ordered: false }).catch((err: unknown) => keep(rows, err))
    reportLost()
  }

  /** Keeps what was not written, while there is room. A row that the database refused by itself would be refused again, unless it is there already. */
  function keep (rows: AuditDocument[], err: unknown): void {
    const refused = err instanceof MongoBulkWriteError ? [err.writeErrors].flat() : []
    unwritten = refused.length > 0 ? [] : rows.slice(0, Math.max(0, MOST_WAITING - waiting.size))
    lost += refused.length > 0 ? refused.filter(({ code }) => code !== DUPLICATE_KEY).length : rows.length - unwritten.length
    log.error({ event: 'audit.unwritten', rows: unwritten.length, err })
    if (unwritten.length > 0) timer ??= setTimeout(flush, RETRY_MS).unref()
  }

  function reportLost (): void {
    if (lost > 0) log.error({ event: 'audit.lost', rows: lost })
    lost = 0
  }

  /** What is written down about a phone, `since` its holder has it, newest first and one by one: it can be much. */
  async function * each (phone: string, since?: Date): AsyncGenerator<AuditDocument, void, undefined> {
    await flush()
    yield * audit.find({ subject: subjectOf(phone), ...(since && { at: { $gte: since } }) }, { batchSize: 200 }).sort({ at: -1 })
  }

  function subjectOf (phone: string): string {
    return digest(secret, 'subject', phone)
  }
}
