import type { Readable } from 'node:stream'
import type { ObjectId } from 'mongodb'
import type { LibraryDocument, SessionDocument, UserDocument } from '../schemas/documents.js'
import type { Config } from '../schemas/env.js'
import type { Phone } from './phone.js'

/** The time, so that a test can pass its own. */
export type Clock = () => Date

/** `reference` comes back with the provider's report of what became of the text, where it reports at all. */
export interface SmsMessage { to: string, body: string, reference: string }

/**
 * Sends one SMS. Rejects with NumberRefused when the provider says that this number takes none, with SmsUnconfirmed
 * when the SMS may
 * have been sent, and with any other error when it was not.
 */
export type SendSms = (text: SmsMessage) => Promise<void>

/** One of several that may send an SMS, within `timeoutMs`; rejects as SendSms does. */
export type SmsProvider = (text: SmsMessage, timeoutMs: number) => Promise<void>

/** The provider was given the SMS and did not say what became of it: it may arrive. */
export class SmsUnconfirmed extends Error {}

/** Whether the phone has an account, and whether that is blocked; and whom events are about. One read. */
export type FindAccount = (phone: string) => Promise<{ known: boolean, blocked: boolean, subject: Subject }>

/** The provider accepts no texts for this number (not mobile, blocked, unsubscribed): asking again will not help. */
export class NumberRefused extends Error {}

/** Where the bytes of the library live. Every method rejects with what the store said or did not say. */
export interface MediaStore {
  /**
   * Writes a stream to `key`, bounded in memory. `sure`: so many bytes will come at least, unless the stream fails;
   * with it most of them are passed on as they come.
   * Rejects with the stream's own error, or with the store's; the object may then exist, in part or later: `remove` it.
   */
  put (key: string, body: AsyncIterable<Buffer>, contentType: string, minBytes?: number): Promise<void>
  /** Writes bytes to `key`, trying again where that may help. */
  putBytes (key: string, bytes: Buffer, contentType: string): Promise<void>
  /** What lies at `key`, as a stream that has to be read or destroyed; undefined when nothing does. */
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
   * A form with which anybody may post exactly one object of this key, type and size, for so many seconds by the
   * system's clock.
   */
  presignPost (key: string, contentType: string, size: number, seconds: number): Promise<{
    url: string
    fields: Record<string, string>
  }>
  /** Rejects when the bucket cannot be reached. */
  ping (): Promise<void>
  /** Where anybody can fetch `key`. */
  url (key: string): string
}

/** What the services need of a logger; pino's own shape. */
export interface Log {
  info (fields: object, message?: string): void
  warn (fields: object, message?: string): void
  error (fields: object, message?: string): void
}

/** What is worth a line in the log, a row in the audit and a count in the metrics. */
export type AuditEvent =
  | 'otp.requested' | 'otp.already_sent' | 'otp.limited' | 'otp.sent' | 'otp.refused' | 'otp.failed' | 'otp.undelivered' | 'otp.verified' | 'otp.rejected' | 'otp.locked'
  | 'session.opened' | 'session.refreshed' | 'session.reused' | 'session.revoked'
  | 'library.removed' | 'notice.sent'
  | 'user.created' | 'user.renamed' | 'number.changed' | 'user.deleted' | 'user.exported' | 'admin.changed' | 'access.denied'

/** Who asks: the account as it was read for this request, and the session that the token names. */
export interface Caller {
  account: UserDocument
  session: SessionDocument
}

/** Whom an event is about: an account, or a phone number of which no account is known. */
export type Subject = { _id: ObjectId, number?: string } | string | null

/** Whoever makes a request, as far as the rules care. */
export interface RequestContext {
  /** The network address, behind trusted proxies the one they name. */
  address: string
  userAgent: string
  log: Log
  /**
   * Writes down what somebody did, or what was done to them: in the log, the audit and the metrics, a number masked.
   * `details` must hold no secret
   * and no whole number.
   */
  record (event: AuditEvent, subject: Subject, details?: Record<string, string | number | boolean>): void
}

/** What an account owns. Both can be repeated. */
export interface Ownership {
  /** The last step of an item that was just inserted: the item without its owner, where that account is deleted. */
  settle (item: LibraryDocument): Promise<LibraryDocument>
  /** Items of the account stay and belong to nobody; what else refers to it goes. */
  release (owner: ObjectId): Promise<void>
}

/** Deletions of accounts that a process has not finished. */
export interface UnfinishedDeletions {
  /** The accounts of those that began long enough ago. */
  abandoned (): Promise<ObjectId[]>
  /** Finishes one; false when there was nothing to do after all. */
  finish (account: ObjectId): Promise<boolean>
}

/** The login's rules for a number that an account is to have. */
export interface NumberVerification {
  /** Sends a code; a refusal names `field`. */
  requestOtp (phone: Phone, platform: 'other', requestContext: RequestContext, field: string): Promise<void>
  /** Whether the code is right and this is the one request that used it. */
  verifyOtp (phone: Phone, otp: string, requestContext: RequestContext): Promise<boolean>
  /** Tells a number that its account has another one from now on. Never rejects. */
  notifyOfNumberChange (number: string, requestContext: RequestContext): Promise<void>
}

/**
 * One part of a multipart form, in the order of the wire; a file must be read to its end before the next part comes.
 */
export type FormPart =
  | { type: 'field', name: string, value: unknown, truncated: boolean }
  | { type: 'file', name: string, filename: string, file: FormFile }

/**
 * The bytes of a file part. Where the request has a length: `sure` bytes will come at least or the form is malformed,
 * and `most` at most.
 */
export type FormFile = Readable & { truncated?: boolean, minBytes?: number, maxBytes?: number }

/**
 * What whoever builds the app decides: its environment, and what a test or an embedder puts in the place of the world.
 */
export interface AppSettings {
  config: Config
  /** The time; default: the system's. */
  now?: Clock
  /** Sends texts in place of the providers of SMS_PROVIDER. */
  sendSms?: SendSms
  /** How long a provider of texts may take for one text, in milliseconds. */
  smsTimeoutMs?: number
  /** The jitter between retries of a provider: a number from 0 to below 1, and what waits so many milliseconds. */
  smsRetry?: { random: () => number, wait: (ms: number, signal: AbortSignal) => Promise<void> }
  /** How long the media store may be silent before it counts as gone, in milliseconds. */
  storeSilenceMs?: number
  /** How long a client may take nothing of an answer before its connection ends, in milliseconds. */
  stallMs?: number
  /** How long a body may take that is no upload, in milliseconds. */
  bodyMs?: number
  /** Whether pictures are decoded, for their facts and renditions; default: true. Without, an item has neither. */
  images?: boolean
  /** How long a picture may take, and what counts the process's CPU time. */
  pictureTimes?: PictureTimes
  /** The program of a picture thread; default: the compiled one beside the pool. */
  pictureProgram?: URL
}

export interface PictureTimes {
  /** To decode it. */
  decodeSeconds?: number
  /** To decode it and to make its renditions. */
  wholeMs?: number
  /** CPU milliseconds that the process has used so far. */
  cpuMs?: () => number
}
