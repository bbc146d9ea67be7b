import type { ObjectId } from 'mongodb'

/** One code: what a guess is compared with, for as long as it lives. */
export interface Challenge {
  nonce: Buffer
  issued_at: Date
  expires_at: Date
  tries: number
  used_at: Date | null
  /**
   * Where its last SMS was counted for the fraud guard, so that its use is counted there too: the hour, and the ids of
   * the counters; `stop`: the stop in whose trial it was sent.
   */
  counted?: { hour: number, by: Array<{ _id: string, stop?: string }> }
}

/** One SMS that was sent. `network`: the client network that asked for it, as a keyed hash. */
export interface Sms { at: Date, network: string }

/**
 * Collection `otps`: everything the login counts for one phone, so that one compare-and-set decides. `_id` is E.164.
 * At most 10 SMS (a day's budget) and 50 failures (then the phone waits).
 */
export interface OtpDocument {
  _id: string
  /** Random, another one after each write: what the next write is compared with. */
  write_id: string
  challenge: Challenge | null
  /** In the order of sending, which is not that of a clock that was set back. */
  sms: Sms[]
  failures: { row: number, dates: Date[] }
  locked_until: Date | null
  /** When the last SMS was sent, if the provider told that it never arrived. */
  undelivered_at?: Date | null
  expires_at: Date
}

/**
 * Collection `otps` too: SMS of the last 24 hours, and how many of their codes were used. `_id` is `service`, or, for
 * the fraud guard,
 * `country:<code>`, `prefix:<digits>` or `network:<keyed hash>`.
 */
export interface CounterDocument {
  _id: string
  /** By the hour since 1970, at most 26 of them. */
  hours: Record<string, { sent?: number, verified?: number }>
  /** The hours in which somebody logged that a cap is near. */
  alarms?: { hour?: number, day?: number }
  /**
   * Too few codes of `hour` were used: nothing passes before `until`, but for what is left of a trial. `sent`,
   * `verified`: those of the trial.
   */
  stop?: { id: string, hour: number, until: Date, sent: number, verified: number }
  expires_at: Date
}

/**
 * Collection `users`: one account each. Its `_id` never changes, and everything that belongs to it refers to that.
 * A row has no `username` before somebody gives it one. A row of the replaced system may lack `username_key`, where
 * another row has
 * the name, and `number`: those had the number of an older row, or none that is one.
 */
export interface UserDocument {
  _id: ObjectId
  /** The shape of the row: 2 since an account has an id of its own. */
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
   * The numbers that it had, at most 20, and until when: a legacy token that was issued before that opens no other
   * account.
   */
  former_numbers?: Array<{ number: string, until: Date }>
  /** No legacy token that was issued until then opens a session any more. */
  legacy_revoked_at?: Date
  /** The ids of legacy sessions that were ended one by one, at most 100. */
  ended_legacy?: string[]
  /** Since when the account is being deleted: it has no number, no name and no session any more. */
  deleting?: Date
  duplicate_of?: ObjectId
  old_number?: string
}

/** One sign-in, inside the row of its account. `id` is the token's `sid`: 24 hex digits. */
export interface SessionDocument {
  id: string
  /** When somebody proved to have the number; of a legacy session, when its token was issued. */
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
 * Collection `released_numbers`: numbers that a deleted account had. `_id` is the number: a legacy token of it that was
 * issued before `until` opens nothing.
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

/** Collection `audit`: who did what from where. Equal events of a moment share one row. */
export interface AuditDocument {
  _id: ObjectId
  event: string
  /** Whom it is about, where that is an account. */
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
 * What tells one request body from another: a keyed digest. `up_to`: it covers a form as far as that was read, so many
 * parts, and so many bytes of a file that is the last of them.
 */
export interface Fingerprint {
  digest: string
  up_to?: { parts: number, bytes: number }
}

/**
 * Collection `idempotency`: what came of a request with an `Idempotency-Key`. `_id` is a keyed digest of caller, route
 * and key.
 * Without `answer` the request is still running, or died with its process.
 */
export interface IdempotencyDocument {
  _id: string
  /** Whose request it is. */
  owner: ObjectId
  /** The request that runs, or ran: nobody else may say what came of it. */
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
 * Collection `uploads`: what is in progress, and what a sweep may have to clean up. Without `owner`, whoever began
 * it has deleted their account.
 * staged: a form to post the bytes with was handed out, nothing of it is in the library's part of the bucket; open:
 * bytes are on their way to `key`;
 * committing: all is stored, the item is being written; removing: the item is to go, or what a failed upload left is,
 * though the store may not have heard of it yet;
 * sweeping: a sweep has claimed it.
 */
export interface UploadDocument {
  _id: ObjectId
  /** Of the original; everything of an item lies in the same folder. Empty while it is staged. */
  key: string
  /** An account. */
  owner?: ObjectId
  state: 'staged' | 'open' | 'committing' | 'removing' | 'sweeping'
  started_at: Date
  /** Of a direct upload: where its bytes are posted to, and what was said of them. */
  staging?: { key: string, content_type: string, size: number, expires_at: Date, fields: UploadedFields }
}

/** Collection `leases`: who alone may do what `_id` names, until when by the database's clock. */
export interface LeaseDocument {
  _id: string
  holder: string
  until: Date
}

/** What an uploader says of a file. */
export interface UploadedFields {
  user_id: string
  category?: string
  title?: string
  fit?: 'contain' | 'cover' | 'fill'
}

/**
 * Collection `usage`: what an owner is just about to add to the library, where there is a quota; and the direct uploads
 * that are open, 20 at most.
 */
export interface UsageDocument {
  /** The account. */
  _id: ObjectId
  version: number
  staged?: Array<{ id: ObjectId, bytes: number, until: Date }>
  claims: Array<{ id: ObjectId, bytes: number, at: Date }>
  purge_at: Date
}

/** Collection `library`: only what is whole. New rows have `key`, rows of the replaced system `url`. */
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
  /** As seen, the orientation applied. */
  width?: number
  height?: number
  frames?: number
  duration_ms?: number
  /** `#rrggbb` */
  dominant_color?: string
  /** GIFs made of it; the key of each is `<size>.gif` beside `key`. */
  renditions?: StoredRendition[]
  /**
   * Of a request with an `Idempotency-Key`, so that it is found again where the process died before it could remember
   * its answer.
   */
  upload_key?: UploadKey
  created_at: Date
}

/** `digest`: the `_id` in `idempotency`. `replayed`: somebody was told of the item since, so it stays. */
export interface UploadKey {
  digest: string
  fingerprint: Fingerprint
  replayed?: true
}

export interface StoredRendition {
  /** `<width>x<height>` */
  size: string
  bytes: number
  frames: number
  duration_ms: number
}
