import type { Readable } from 'node:stream'
import type { ObjectId } from 'mongodb'
import type {
  Fingerprint,
  IdempotencyDocument,
  LibraryDocument,
  SessionDocument,
  UserDocument
} from '../schemas/documents.js'
import type { Config } from '../schemas/env.js'
import type { Phone } from './phone.js'

/** The time, so that a test can pass its own. */
export type Clock = () => Date

/** `reference` comes back in the provider's delivery report, if there is one. */
export interface SmsMessage { to: string, body: string, reference: string }

/**
 * Sends one SMS. Rejects with NumberRefused when the provider says that this number takes none, with SmsUnconfirmed
 * when the SMS may have been sent, and with any other error when it was not.
 */
export type SendSms = (text: SmsMessage) => Promise<void>

/** One of several providers, with a limit of `timeoutMs`; rejects as SendSms does. */
export type SmsProvider = (text: SmsMessage, timeoutMs: number) => Promise<void>

/** The provider was given the SMS and reported no result: it may arrive. */
export class SmsUnconfirmed extends Error {}

/** Whether the phone has an account, whether that is blocked, and the subject of its events. One read. */
export type AccountStateOf = (phone: string) => Promise<{ known: boolean, blocked: boolean, subject: Subject }>

/** The provider accepts no SMS for this number (not mobile, blocked, unsubscribed): a retry will not help. */
export class NumberRefused extends Error {}

/** The store of the library's bytes. Every method rejects when the store refuses or does not answer. */
export interface MediaStore {
  /**
   * Writes a stream to `key`, bounded in memory. `minBytes`: at least this many bytes come, unless the stream fails;
   * with it most of them are passed on as they come. Rejects with the error of the stream or the store. The object may
   * then exist, in part or later: `remove` it.
   */
  put (key: string, body: AsyncIterable<Buffer>, contentType: string, minBytes?: number): Promise<void>
  /** Writes bytes to `key`. Retries where that may help. */
  putBytes (key: string, bytes: Buffer, contentType: string): Promise<void>
  /** The object at `key` as a stream, which must be read or destroyed; undefined without one. */
  get (key: string): Promise<{ body: Readable, size: number } | undefined>
  /**
   * Removes every object and every unfinished multipart upload whose key begins with `prefix`; resolves when there was
   * none.
   */
  remove (prefix: string): Promise<void>
  /** Removes the object at exactly this key; resolves when there is none. */
  removeObject (key: string): Promise<void>
  /** Every object whose key begins with `prefix`, in the order of keys. */
  list (prefix: string): AsyncIterable<{ key: string, size: number }>
  /** Every unfinished multipart upload whose key begins with `prefix`. */
  unfinished (prefix: string): AsyncIterable<{ key: string, uploadId: string }>
  /** Ends an unfinished multipart upload; resolves when there is none. */
  abort (key: string, uploadId: string): Promise<void>
  /**
   * A form that lets anybody post exactly one object of this key, type and size, for `seconds` by the system's clock.
   */
  presignPost (key: string, contentType: string, size: number, seconds: number): Promise<{
    url: string
    fields: Record<string, string>
  }>
  /** Rejects when the bucket cannot be reached. */
  ping (): Promise<void>
  /** The public address of `key`. */
  url (key: string): string
  /** Each address of `key` that a row may hold: the replaced system wrote other ones. */
  urlsOf (key: string): string[]
  /** The key of the object at an address of this bucket; undefined for another address. */
  keyOf (url: string): string | undefined
}

/** The logger of the services, with pino's own shape. */
export interface Log {
  info (fields: object, message?: string): void
  warn (fields: object, message?: string): void
  error (fields: object, message?: string): void
}

/** Each event is a line in the log, a row in the audit and a count in the metrics. */
export const AUDIT_EVENTS = [
  'otp.requested', 'otp.already_sent', 'otp.limited', 'otp.sent', 'otp.refused', 'otp.failed', 'otp.undelivered',
  'otp.verified', 'otp.rejected', 'otp.locked',
  'session.opened', 'session.refreshed', 'refresh_token.reused', 'session.revoked',
  'library.edited', 'library.removed', 'library.reported', 'library.hidden', 'library.reviewed', 'number_notice.sent',
  'block.added', 'block.removed',
  'user.created', 'user.renamed', 'number.changed', 'user.deleted', 'user.exported', 'user.rights_changed', 'access.denied'
] as const
export type AuditEvent = typeof AUDIT_EVENTS[number]

/** The account as it was read for this request, and the session that the token names. */
export interface Caller {
  account: UserDocument
  session: SessionDocument
}

/** An event is about an account, a phone number without a known account, or neither. */
export type Subject = { _id: ObjectId, number?: string } | string | null

/** The facts of a request that the rules use. */
export interface RequestContext {
  /** The network address; behind trusted proxies the one they name. */
  address: string
  userAgent: string
  log: Log
  /**
   * Records an event in the log, the audit and the metrics, with its number masked. `details` must hold no secret and
   * no whole number.
   */
  record (event: AuditEvent, subject: Subject, details?: Record<string, string | number | boolean>): void
}

/** A request's lock on its `Idempotency-Key`. */
export type KeyLock = Pick<IdempotencyDocument, '_id' | 'holder'>

/** The same, with the fingerprint of the request's body once that is read. */
export interface IdempotencyLock { lock: KeyLock, fingerprint: () => Promise<Fingerprint | undefined> }

/** The data of an account. Both are repeatable. */
export interface Ownership {
  /** The last step after an insert: returns the item, without its owner if that account is deleted. */
  checkOwner (item: LibraryDocument): Promise<LibraryDocument>
  /** Items, upload records and reports stay, without the account; keys and usage go. */
  disownAll (owner: ObjectId): Promise<void>
}

/** Account deletions that a process has not finished. */
export interface UnfinishedDeletions {
  /** The accounts whose deletion began long ago. */
  abandoned (): Promise<ObjectId[]>
  /** Finishes one; false when there was nothing left to do. */
  finish (account: ObjectId): Promise<boolean>
}

/** The login's rules for the new number of an account. */
export interface NumberVerification {
  /** Sends a code; a refusal names `field`. */
  requestOtp (phone: Phone, platform: 'other', requestContext: RequestContext, field: string): Promise<void>
  /** Whether the code is right and this is the one request that used it. */
  verifyOtp (phone: Phone, otp: string, requestContext: RequestContext): Promise<boolean>
  /** Tells the old number that its account has a new one. Never rejects. */
  notifyOfNumberChange (number: string, requestContext: RequestContext): Promise<void>
}

/**
 * One part of a multipart form, in the order of the wire; a file must be read to its end before the next part comes.
 */
export type FormPart =
  | { type: 'field', name: string, value: unknown, truncated: boolean }
  | { type: 'file', name: string, filename: string, file: FormFile }

/**
 * The bytes of a file part. Where the request has a length: at least `minBytes` come or the form is malformed, and at
 * most `maxBytes`.
 */
export type FormFile = Readable & { truncated?: boolean, minBytes?: number, maxBytes?: number }

/** What a span tells. It holds nothing of a person. */
export interface SpanFacts {
  name: string
  /** A call of another service, or work of this one. */
  kind: 'client' | 'internal'
  attributes?: Record<string, string | number>
  /** Whether an error counts as a failure; without it each does. */
  isFailure?: (error: unknown) => boolean
}

/** Runs work in a span of the current trace, if there is one. */
export type InSpan = <T>(facts: SpanFacts, work: () => Promise<T>) => Promise<T>

/** The settings of the code that builds the app: its environment, and what a test or an embedder replaces. */
export interface AppSettings {
  config: Config
  /** The time; default: the system's. */
  now?: Clock
  /** Sends SMS in place of the providers of SMS_PROVIDER. */
  sendSms?: SendSms
  /** How long a provider may take for one SMS, in milliseconds. */
  smsTimeoutMs?: number
  /** The jitter between retries of a provider: a number from 0 to below 1, and a wait in milliseconds. */
  smsRetry?: { random: () => number, wait: (ms: number, signal: AbortSignal) => Promise<void> }
  /** How long a request, and no other work, may wait for the database, in milliseconds; default: 5000. */
  maxDatabaseWaitMs?: number
  /** How long the media store may be silent before it counts as gone, in milliseconds. */
  storeSilenceMs?: number
  /** How long an upload that is refused or fails may wait for its clean-up before it is answered, in milliseconds. */
  cleanupWaitMs?: number
  /** How long the end of the app may wait for the receiver of traces, in milliseconds. */
  traceStopMs?: number
  /** How long a client may read nothing of an answer before its connection ends, in milliseconds. */
  stallMs?: number
  /** How long a body that is no upload may take, in milliseconds. */
  bodyMs?: number
  /** Whether pictures are decoded, for their facts and renditions; default: true. If not, an item has neither. */
  images?: boolean
  /** The time limits of a picture, and the counter of CPU time. */
  pictureTimes?: PictureTimes
}

export interface PictureTimes {
  /** To decode it. */
  decodeSeconds?: number
  /** To decode it and to make its renditions. */
  wholeMs?: number
  /** CPU milliseconds that the process has used so far. */
  cpuMs?: () => number
}
