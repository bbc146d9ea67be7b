/** The members that stored documents may have. */
import { Binary, ObjectId, type Collection } from 'mongodb'
import type { Collections } from '../../plugins/mongo.js'

type DocumentOf<C> = C extends Collection<infer D> ? D : never
type Names<T> = T extends unknown ? keyof T & string : never
/** The shape of a member: a value or a list of values; or members by name, of each element if it is a list. */
type Shape = 'value' | { [member: string]: Shape }
const value = 'value' as const

const fields = { user_id: value, category: value, title: value, fit: value } as const
const fingerprint = { digest: value, up_to: { parts: value, bytes: value } } as const
const rendition = { size: value, content_type: value, bytes: value, frames: value, duration_ms: value } as const

/** Every member that a stored document may have. The compiler compares the first level with schemas/documents.ts. */
export const STORED = {
  otps: {
    _id: value,
    write_id: value,
    challenge: {
      nonce: value,
      issued_at: value,
      expires_at: value,
      tries: value,
      used_at: value,
      counted: { hour: value, by: { _id: value, stop: value } }
    },
    sms: { at: value, network: value },
    failures: { row: value, dates: value },
    locked_until: value,
    undelivered_at: value,
    hours: value,
    alarms: { hour: value, day: value },
    stop: { id: value, hour: value, until: value, sent: value, verified: value },
    expires_at: value
  },
  audit: {
    _id: value,
    event: value,
    account: value,
    phone: value,
    network: value,
    request_id: value,
    at: value,
    count: value,
    purge_at: value,
    details: {
      reason: value,
      by: value,
      id: value,
      decision: value,
      session: value,
      admin: value,
      blocked: value,
      from: value,
      to: value,
      platform: value,
      error: value,
      error_code: value
    }
  },
  users: {
    _id: value,
    username: value,
    username_key: value,
    number: value,
    admin: value,
    blocked: value,
    created_on: value,
    schema: value,
    sessions: {
      id: value,
      login_at: value,
      last_used_at: value,
      expires_at: value,
      ends_by: value,
      user_agent: value,
      refresh: { n: value, rotated_at: value },
      legacy: value
    },
    former_numbers: { number: value, until: value },
    legacy_revoked_at: value,
    ended_legacy: value,
    deleting: value,
    merged: { id: value, username: value, number: value, created_on: value },
    old_number: value,
    blocks: { id: value, at: value },
    reported: value,
    report_times: value,
    has_hidden: value
  },
  released_numbers: { _id: value, until: value, expires_at: value },
  migration: { _id: value, at: value },
  idempotency: {
    _id: value,
    owner: value,
    holder: value,
    begun_at: value,
    purge_at: value,
    answer: { status: value, content_type: value, body: value, fingerprint }
  },
  uploads: {
    _id: value,
    key: value,
    owner: value,
    state: value,
    started_at: value,
    staging: { key: value, content_type: value, size: value, expires_at: value, fields }
  },
  usage: {
    _id: value,
    version: value,
    staged: { id: value, bytes: value, until: value },
    claims: { id: value, bytes: value, at: value },
    purge_at: value
  },
  library: {
    _id: value,
    key: value,
    url: value,
    owner: value,
    user_id: value,
    type: value,
    category: value,
    title: value,
    words: value,
    content_type: value,
    size: value,
    sha256: value,
    width: value,
    height: value,
    frames: value,
    duration_ms: value,
    dominant_color: value,
    renditions: rendition,
    hidden: value,
    hidden_at: value,
    kept: value,
    upload_key: { digest: value, fingerprint, replayed: value },
    created_at: value
  },
  library_state: { _id: value, version: value, total: value, hidden: value, counted: value },
  reports: {
    _id: value,
    item: value,
    account: value,
    reason: value,
    comment: value,
    created_at: value,
    open: value,
    counts_for_hiding: value,
    uncounted: value
  },
  report_states: {
    _id: value,
    version: value,
    open: value,
    reasons: { spam: value, nudity: value, hate: value, violence: value, copyright: value, other: value },
    period: value,
    first_at: value,
    last_at: value,
    reported_event_at: value,
    hidden_event_at: value,
    due_at: value,
    failing: { since: value, times: value }
  },
  leases: { _id: value, holder: value, until: value }
} satisfies { [C in keyof Collections]: Record<Names<DocumentOf<Collections[C]>>, Shape> }

/** Every name in a shape, and the dotted paths of those inside others. */
export const namesIn = (shape: Shape, path = ''): string[] =>
  shape === value
    ? []
    : Object.entries(shape).flatMap(([name, inner]) =>
      [name, ...(path === '' ? [] : [`${path}.${name}`]), ...namesIn(inner, path === '' ? name : `${path}.${name}`)])

/** The paths of members that the shape does not have. */
export function faultsOf (stored: unknown, shape: Shape, path: string): string[] {
  if (Array.isArray(stored)) return stored.flatMap(element => faultsOf(element, shape, path))
  if (!isDocument(stored)) return []
  if (shape === value) return [`${path} holds an object`]
  return Object.entries(stored).flatMap(([name, inner]) =>
    Object.hasOwn(shape, name) ? faultsOf(inner, shape[name]!, `${path}.${name}`) : [`${path}.${name}`])
}

export const isDocument = (stored: unknown): stored is Record<string, unknown> =>
  typeof stored === 'object' &&
    stored !== null &&
    !(stored instanceof Date || stored instanceof ObjectId || stored instanceof Uint8Array || stored instanceof Binary)
