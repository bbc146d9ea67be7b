import type { ObjectId } from 'mongodb'
import type { Fit, RenditionType } from './library.js'
import type { ReportReason } from './moderation.js'

/** One code. Guesses are compared with it until it expires. */
export interface Challenge {
  nonce: Buffer
  issued_at: Date
  expires_at: Date
  tries: number
  used_at: Date | null
  /**
   * The fraud guard's counters of its last SMS, so that its use is counted there too: the hour, and the ids of the
   * counters. `stop`: the stop in whose trial it was sent.
   */
  counted?: { hour: number, by: Array<{ _id: string, stop?: string }> }
}

/** One SMS that was sent. `network`: a keyed hash of the client network that asked for it. */
export interface Sms { at: Date, network: string }

/**
 * Collection `otps`: everything that the login counts for one phone, so that one compare-and-set decides. `_id` is
 * E.164. At most 10 SMS (a day's budget) and 50 failures (then the phone waits).
 */
export interface OtpDocument {
  _id: string
  /** Random, and new after each write. The next write is compared with it. */
  write_id: string
  challenge: Challenge | null
  /** In the order of sending. Times differ from it if the clock was set back. */
  sms: Sms[]
  failures: { row: number, dates: Date[] }
  locked_until: Date | null
  /** When the last SMS was sent, if the provider reported that it never arrived. */
  undelivered_at?: Date | null
  expires_at: Date
}

/**
 * Also in collection `otps`: SMS of the last 24 hours, and how many of their codes were used. `_id` is `service`, or,
 * for the fraud guard, `country:<code>`, `prefix:<digits>` or `network:<keyed hash>`.
 */
export interface CounterDocument {
  _id: string
  /** By hour since 1970, at most 26 of them. */
  hours: Record<string, { sent?: number, verified?: number }>
  /** The hours in which a process logged that a cap is near. */
  alarms?: { hour?: number, day?: number }
  /**
   * Too few codes of `hour` were used: no SMS passes before `until`, except the rest of a trial. `sent`, `verified`:
   * counts of the trial.
   */
  stop?: { id: string, hour: number, until: Date, sent: number, verified: number }
  expires_at: Date
}

/**
 * Collection `users`: one account each. Its `_id` never changes, and everything that belongs to the account refers to
 * it. A row has no `username` until one is set. A row of the replaced system may lack `username_key`, if another row
 * has the name, and `number`, if it was invalid. Until it is converted it has no `schema`, and what the replaced system
 * wrote: `admin` means nothing then.
 */
export interface UserDocument {
  _id: ObjectId
  /** The shape of the row: 2 for an account with its own id. Absent in a row that is not converted yet. */
  schema: 2
  number?: string
  username?: string
  username_key?: string
  admin: boolean
  blocked?: boolean
  created_on: Date
  /** At most 10, the oldest first. */
  sessions: SessionDocument[]
  /**
   * The account's former numbers, at most 20. A legacy token of one that was issued before `until` opens no other
   * account.
   */
  former_numbers?: Array<{ number: string, until: Date }>
  /** Legacy tokens that were issued until then open no session. */
  legacy_revoked_at?: Date
  /** The ids of legacy sessions that were ended one by one, at most 100. */
  ended_legacy?: string[]
  /** When the account's deletion began. From then on it has no number, no name and no session. */
  deleting?: Date
  /** Rows of the replaced system with the same number, at most 100. Their names sign in to this account. */
  merged?: MergedUser[]
  /** The text that the replaced system had as the number, where it is no phone number. */
  old_number?: string
  /** Accounts whose items the caller does not want to see, at most 200. */
  blocks?: Array<{ id: ObjectId, at: Date }>
  /** The items that the account reported: the newest 500. */
  reported?: ObjectId[]
  /** The times of its last 50 reports. */
  report_times?: Date[]
  /** When an item of the account was hidden last. A sweep removes it when none is hidden any more. */
  has_hidden?: Date
}

/** A row of the replaced system inside the account with its number. `number`: as it was written. */
export interface MergedUser {
  id: ObjectId
  username: string
  number: string
  created_on: Date
}

/** One sign-in, inside the row of its account. `id` is the token's `sid`: 24 hex digits. */
export interface SessionDocument {
  id: string
  /** When the user proved to have the number; of a legacy session, when its token was issued. */
  login_at: Date
  last_used_at: Date
  expires_at: Date
  /** No refresh makes it last longer than this. */
  ends_by?: Date
  user_agent: string
  /** For a client that asked for refresh tokens: how often they were rotated, and when last. */
  refresh?: { n: number, rotated_at: Date }
  /** The token was issued by the replaced system. */
  legacy?: true
}

/**
 * Collection `released_numbers`: numbers of deleted accounts. `_id` is the number. Its legacy tokens that were issued
 * before `until` open nothing.
 */
export interface ReleasedNumberDocument {
  _id: string
  until: Date
  expires_at: Date
}

/**
 * Collection `migration`: `takeover` is when `npm run migrate` first ran. A legacy token that was issued later is a
 * forgery.
 */
export interface MigrationDocument {
  _id: 'takeover'
  at: Date
}

/** Collection `audit`: events, with account and network. Equal events of a moment share one row. */
export interface AuditDocument {
  _id: ObjectId
  event: string
  /** The account that it is about, if any. */
  account: ObjectId | null
  /** Masked. */
  phone: string | null
  /** The network, not the address. */
  network: string
  request_id: string
  at: Date
  count: number
  details: Record<string, string | number | boolean>
  purge_at: Date
}

/**
 * Identifies a request body by a keyed digest. `up_to`: it covers a form as far as that was read: this many parts, and
 * this many bytes of a file that is the last of them.
 */
export interface Fingerprint {
  digest: string
  up_to?: { parts: number, bytes: number }
}

/**
 * Collection `idempotency`: the outcome of a request with an `Idempotency-Key`. `_id` is a keyed digest of caller,
 * route and key. Without `answer` the request is still running, or died with its process.
 */
export interface IdempotencyDocument {
  _id: string
  /** The requesting account. */
  owner: ObjectId
  /** The request that runs, or ran. No other may store its outcome. */
  holder: ObjectId
  begun_at: Date
  answer?: StoredAnswer
  purge_at: Date
}

export interface StoredAnswer {
  status: number
  content_type: string
  body: string
  fingerprint: Fingerprint
}

/**
 * Collection `uploads`: uploads and removals in progress, which a sweep may have to clean up. Without `owner` the
 * account is deleted, or the row belongs to none.
 * staged: the client has a form to post the bytes with, and nothing is in the library's part of the bucket.
 * open: bytes are on their way to `key`.
 * committing: all is stored, and the item is being written.
 * removing: the item or the rest of a failed upload is to go, though the store may not have it yet.
 * sweeping: a sweep has claimed it.
 */
export interface UploadDocument {
  _id: ObjectId
  /** The key of the original. All objects of an item are in its folder. Empty while staged. */
  key: string
  /** An account. */
  owner?: ObjectId
  state: 'staged' | 'open' | 'committing' | 'removing' | 'sweeping'
  started_at: Date
  /** For a direct upload: where its bytes are posted, and what was announced. */
  staging?: { key: string, content_type: string, size: number, expires_at: Date, fields: UploadedFields }
}

/** Collection `leases`: the holder of the lock `_id`, and its end by the database's clock. */
export interface LeaseDocument {
  _id: string
  holder: string
  until: Date
}

/** The fields that a client sends with a file. */
export interface UploadedFields {
  user_id: string
  category?: string
  title?: string
  fit?: Fit
}

/**
 * Collection `usage`: an owner's additions to the library in progress, if there is a quota, and the open direct
 * uploads, 20 at most.
 */
export interface UsageDocument {
  /** The account. */
  _id: ObjectId
  version: number
  staged?: Array<{ id: ObjectId, bytes: number, until: Date }>
  claims: Array<{ id: ObjectId, bytes: number, at: Date }>
  purge_at: Date
}

/** Collection `library`: complete items only. New rows have `key`, rows of the replaced system `url`. */
export interface LibraryDocument {
  _id: ObjectId
  key?: string
  url?: string
  /** An account. */
  owner?: ObjectId
  user_id: string
  type?: string
  category?: string
  title?: string
  /** The words of the title as a search compares them. */
  words?: string[]
  content_type?: string
  size?: number
  sha256?: string
  /** After the orientation is applied. */
  width?: number
  height?: number
  frames?: number
  duration_ms?: number
  /** `#rrggbb` */
  dominant_color?: string
  /**
   * GIFs and PNGs made of it. The key of each is `<size>.gif` or `<size>.png` beside `key`. A row without `key` has
   * them in the folder `library/<_id>/`.
   */
  renditions?: StoredRendition[]
  /**
   * For a request with an `Idempotency-Key`. A repeat finds the item by it if the process died before it stored the
   * answer.
   */
  upload_key?: UploadKey
  /** Only its owner and admins see the item: reports have hidden it, or a review. */
  hidden?: 'reports' | 'review'
  hidden_at?: Date
  /** A review has kept it: reports hide it no more. */
  kept?: true
  created_at: Date
}

/**
 * Collection `reports`: one for each account and item. Without `account` that account is deleted. It goes with its
 * item.
 */
export interface ReportDocument {
  _id: ObjectId
  item: ObjectId
  account?: ObjectId
  reason: ReportReason
  comment?: string
  created_at: Date
  /** No review has closed it yet. */
  open?: true
  /** The account was old enough for the report to hide the item. */
  counts_for_hiding: boolean
  /** `report_states` may not know of it yet, or not of its review. */
  uncounted?: true
}

/**
 * Collection `report_states`: the reports of an item, counted. `_id` is the item's. A worker sends the events that have
 * no time yet.
 */
export interface ReportStateDocument {
  _id: ObjectId
  /** Random, and new after each write. The next write is compared with it. */
  version: string
  /** Open reports. */
  open: number
  /** The same by reason. */
  reasons: Partial<Record<ReportReason, number>>
  /** Random, and new with the first open report. The ids of its events are made of it. */
  period?: string
  /** The times of the first and of the last open report. Absent while none is open. */
  first_at?: Date
  last_at?: Date
  /** When the moderators were told, or the worker gave up. */
  reported_event_at?: Date
  hidden_event_at?: Date
  /** When the worker looks at it next. Absent if nothing is left to do. */
  due_at?: Date
  /** The failures to deliver the present event: the time of the first, and how many they are. */
  failing?: { since: Date, times: number }
}

/** Collection `library_state`: one document, which every write to `library` changes. */
export interface LibraryStateDocument {
  _id: 'library'
  /** Random, and another one after each write. */
  version: string
  /** The number of items that are not hidden, and of those that are, if they were counted. */
  total: number
  hidden: number
  counted: boolean
}

/** `digest`: the `_id` in `idempotency`. `replayed`: a repeat was answered with the item, so it stays. */
export interface UploadKey {
  digest: string
  fingerprint: Fingerprint
  replayed?: true
}

export interface StoredRendition {
  /** `<width>x<height>` */
  size: string
  /** Renditions of 0.3.0 have none. They are GIFs. */
  content_type?: RenditionType
  bytes: number
  frames: number
  duration_ms: number
}
