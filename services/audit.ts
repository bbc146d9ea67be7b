import { LRUCache } from 'lru-cache'
import { MongoBulkWriteError, ObjectId, type Collection } from 'mongodb'
import type { AuditDocument } from '../schemas/documents.js'
import { clientOf, maskAddress } from './client-network.js'
import { maskPhone } from './phone.js'
import type { AuditEvent, Clock, Log, Subject } from './ports.js'

const KEPT_MS = 90 * 24 * 3600 * 1000
const FLUSH_MS = 200
const RETRY_MS = 5000
const MINUTE_MS = 60_000
/** Rows that wait for the database. Further events go to the log alone, and so does their number. */
const MAX_WAITING = 10_000
/** Cached rows that count repetitions, and cached client networks. */
const MAX_CACHED = 10_000
/** Rows per client network and minute, by requests without a token. */
const MAX_ANONYMOUS_ROWS = 100
/** The event of the row beyond that. */
const MERGED = 'events.merged'

/** Events that change a right. Each has a row of its own, which is written before the answer. */
const RIGHTS = new Set<AuditEvent>([
  'otp.verified', 'session.opened', 'session.revoked', 'refresh_token.reused', 'user.created', 'number.changed',
  'user.deleted', 'user.rights_changed', 'library.hidden', 'library.reviewed'
])
export const changesRight = (event: AuditEvent) => RIGHTS.has(event)

export interface AuditOptions {
  audit: Collection<AuditDocument>
  log: Log
  now: Clock
}

export interface Entry {
  event: AuditEvent
  subject: Subject
  address: string
  requestId: string
  details: AuditDocument['details']
  /** The request has no valid token. */
  anonymous?: boolean
}

/** `row.count` grows with each repetition. */
interface RecentRow { row: AuditDocument, at: number }

/** Audit rows by account, kept for 90 days. Every number is masked. */
export function createAudit ({ audit, log, now }: AuditOptions) {
  /** Rows not yet written. */
  const waiting = new Set<AuditDocument>()
  const recent = new LRUCache<string, RecentRow>({ max: MAX_CACHED })
  const networks = new LRUCache<string, { since: number, rows: number }>({ max: MAX_CACHED })
  let lost = 0
  let timer: NodeJS.Timeout | undefined
  let writing = Promise.resolve()
  return { add, each, flush, close }

  /**
   * Notes an event and writes it a moment later. A repetition within a minute only raises the count of its row: a flood
   * of guesses is no flood of rows. A client network without a token gets 100 rows a minute, and one row for the rest.
   * Each process counts for itself.
   */
  function add (entry: Entry): void {
    const row = rowOf(entry)
    if (waiting.size >= MAX_WAITING && !waiting.has(row)) lost++
    else waiting.add(row)
    timer ??= setTimeout(flush, FLUSH_MS).unref()
  }

  function rowOf (entry: Entry): AuditDocument {
    const { event, subject, address, details, anonymous } = entry
    if (changesRight(event)) return newRow(entry)
    const key = JSON.stringify([event, accountIn(subject), maskedPhone(subject), maskAddress(address), details])
    return repeated(key) ?? remember(key, anonymous && isOverflowing(address) ? merged(entry) : newRow(entry))
  }

  function newRow ({
    event,
    subject,
    address,
    requestId,
    details
  }: Omit<Entry, 'event'> & { event: string }): AuditDocument {
    const at = now()
    return {
      _id: new ObjectId(),
      event,
      account: accountIn(subject),
      phone: maskedPhone(subject),
      network: maskAddress(address),
      request_id: requestId,
      at,
      count: 1,
      details,
      purge_at: new Date(at.getTime() + KEPT_MS)
    }
  }

  function repeated (key: string): AuditDocument | undefined {
    const recentRow = recent.get(key)
    if (!recentRow || Math.abs(now().getTime() - recentRow.at) >= MINUTE_MS) return undefined
    recentRow.row.count++
    return recentRow.row
  }

  function remember (key: string, row: AuditDocument): AuditDocument {
    recent.set(key, { row, at: row.at.getTime() })
    return row
  }

  /** Whether the client network of `address` is out of rows this minute. */
  function isOverflowing (address: string): boolean {
    const client = clientOf(address)
    const known = networks.get(client)
    const counted = known && Math.abs(now().getTime() - known.since) < MINUTE_MS
      ? known
      : { since: now().getTime(), rows: 0 }
    networks.set(client, counted)
    return ++counted.rows > MAX_ANONYMOUS_ROWS
  }

  /** The one row for all events of a client network beyond its rows. */
  function merged ({ address, requestId }: Entry): AuditDocument {
    const key = `merged ${clientOf(address)}`
    return repeated(key) ?? remember(key, newRow({ event: MERGED, subject: null, address, requestId, details: {} }))
  }

  /** Resolves when the earlier rows are written, or the write has failed: then a retry follows later. */
  function flush (): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    writing = writing.then(write)
    return writing
  }

  /** Writes the remaining rows a last time. */
  async function close (): Promise<void> {
    await flush()
    clearTimeout(timer)
    lost += waiting.size
    reportLost()
  }

  /** Writes new rows and grown counts by one command. A retry is safe: `$max` counts nothing twice. */
  async function write (): Promise<void> {
    const rows = [...waiting]
    waiting.clear()
    const operations = rows.map(({ _id, count, ...row }) => ({
      updateOne: { filter: { _id }, update: { $setOnInsert: row, $max: { count } }, upsert: true }
    }))
    if (rows.length > 0) await audit.bulkWrite(operations, { ordered: false }).catch((err: unknown) => keep(rows, err))
    reportLost()
  }

  /**
   * Keeps the unwritten rows while there is room. Drops a row that the database refused: a retry would be refused too.
   */
  function keep (rows: AuditDocument[], err: unknown): void {
    const refused = err instanceof MongoBulkWriteError ? [err.writeErrors].flat().length : 0
    const kept = refused > 0
      ? []
      : rows.filter(row => waiting.has(row) || (waiting.size < MAX_WAITING && waiting.add(row)))
    lost += refused > 0 ? refused : rows.length - kept.length
    log.error(
      { event: 'audit.write_failed', rows: kept.length, err },
      'Audit rows could not be written to MongoDB: this process keeps them and writes them again in 5 s'
    )
    if (kept.length > 0) timer ??= setTimeout(flush, RETRY_MS).unref()
  }

  function reportLost (): void {
    if (lost > 0) log.error({ event: 'audit.lost', rows: lost }, 'Audit rows are lost: they are in the log alone')
    lost = 0
  }

  /** The rows of an account, newest first. They come one by one, as there can be many. */
  async function * each (account: ObjectId): AsyncGenerator<AuditDocument, void, undefined> {
    await flush()
    yield * audit.find({ account }, { batchSize: 200 }).sort({ at: -1 })
  }
}

const accountIn = (subject: Subject) => typeof subject === 'object' && subject !== null ? subject._id : null

/** The number of the event's subject, masked; null without one. */
export function maskedPhone (subject: Subject): string | null {
  const phone = typeof subject === 'string' ? subject : subject?.number
  return phone === undefined ? null : maskPhone(phone)
}
