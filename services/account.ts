import type { Collection } from 'mongodb'
import type { AuditDocument, LibraryDocument, OtpDocument, UploadDocument, UserDocument } from '../schemas/documents.js'
import type { LibraryItem } from '../schemas/library.js'
import type { LoginState, RecordedEvent } from '../schemas/users.js'
import type { createAudit } from './audit.js'
import { createBelongings } from './belongings.js'
import { userNotFound } from './errors.js'
import { jsonText } from './json-text.js'
import type { createMoves } from './moves.js'
import { stateOf, type OtpCollection } from './otp-store.js'
import type { Clock, Visitor } from './ports.js'
import { shownSession, type createSessions } from './sessions.js'
import { warnOfVacancy } from './standing.js'
import { shown, shownToSelf } from './users.js'

export interface AccountOptions {
  users: Collection<UserDocument>
  otps: OtpCollection
  uploads: Collection<UploadDocument>
  library: Collection<LibraryDocument>
  sessions: Pick<ReturnType<typeof createSessions>, 'endAll' | 'list'>
  moves: Pick<ReturnType<typeof createMoves>, 'finish'>
  audit: Pick<ReturnType<typeof createAudit>, 'each'>
  isAppointed: (phone: string) => boolean
  present: (row: LibraryDocument) => LibraryItem
  now: Clock
}

/** So many rows are in memory at a time; the database would send 16 MiB. */
const BY_BATCH = { batchSize: 200 } as const

/** A block is not to go with the row of whoever another process still takes for signed in. */
const UNBLOCKED = { blocked: { $ne: true } } as const

/** Everything that is stored about somebody: to take away, and to leave behind. */
export function createAccount ({ users, otps, uploads, library, sessions, moves, audit, isAppointed, present, now }: AccountOptions) {
  const belongings = createBelongings({ uploads, library })
  return { remove, exportOf }

  /**
   * Signs the caller out everywhere, lets their items stay as nobody's, and deletes the user. 404.
   * The user goes last: after a failure halfway, whoever signs in again finds it and can try once more.
   * What the login has counted for the phone goes by itself within two days, the masked audit after its 90.
   */
  async function remove (caller: string, visitor: Visitor): Promise<void> {
    const user = await users.findOne({ number: caller, ...UNBLOCKED })
    if (!user) throw userNotFound()
    await moves.finish(user)
    await sessions.endAll(caller, visitor, 'deleted')
    await belongings.release(caller)
    await users.deleteMany({ duplicate_of: user._id })
    const { deletedCount } = await users.deleteOne({ _id: user._id, number: caller, ...UNBLOCKED })
    if (deletedCount === 0) throw userNotFound()
    visitor.record('user.deleted', caller)
    if (isAppointed(caller)) warnOfVacancy(visitor.log, caller)
  }

  /** What is stored about the caller as the text of one JSON object, without what would sign somebody in; and when that was. All that can be much is read as the text is taken. */
  async function exportOf (caller: string, sessionId: string, visitor: Visitor): Promise<{ at: Date, text: AsyncIterable<string> }> {
    const at = now()
    const user = await users.findOne({ number: caller })
    const [otp, open] = await Promise.all([otps.findOne({ _id: caller }).then(stateOf), sessions.list(caller)])
    visitor.record('user.exported', caller)
    const text = jsonText({
      exported_at: at,
      ...(user && { user: shownToSelf(user) }),
      duplicates: user ? map(users.find({ duplicate_of: user._id }, BY_BATCH), row => shown(row, true)) : [],
      sessions: open.map(session => shownSession(session, sessionId)),
      ...(otp && { login: loginState(otp) }),
      uploads: map(uploads.find({ owner: caller }, BY_BATCH), ({ _id, started_at: startedAt }) => ({ id: _id.toHexString(), started_at: startedAt })),
      items: map(library.find({ owner: caller }, BY_BATCH).sort({ created_at: -1, _id: -1 }), present),
      audit: map(audit.each(caller, user ? user.number_since : open.find(({ _id }) => _id === sessionId)?.created_at ?? at), recordedEvent)
    })
    return { at, text }
  }
}

function loginState ({ challenge, sms, failures, locked_until: lockedUntil }: OtpDocument): LoginState {
  return {
    texts: sms.map(({ at }) => toText(at)),
    failures: failures.dates.map(toText),
    failures_in_row: failures.row,
    locked_until: lockedUntil && toText(lockedUntil),
    ...(challenge && { code: { issued_at: toText(challenge.issued_at), expires_at: toText(challenge.expires_at), tries: challenge.tries, used_at: challenge.used_at && toText(challenge.used_at) } })
  }
}

/** Of what somebody else has done to the caller: what it was, but not who, nor where from. */
function recordedEvent ({ at, event, count, network, request_id: requestId, details: { by, ...details } }: AuditDocument): RecordedEvent {
  return { at: toText(at), event, count, ...(by === undefined && { network, request_id: requestId }), details: Object.fromEntries(Object.entries(details).map(([name, value]) => [name, String(value)])) }
}

const toText = (date: Date) => date.toISOString()

async function * map <T, U> (values: AsyncIterable<T>, change: (value: T) => U): AsyncGenerator<U, void, undefined> {
  for await (const value of values) yield change(value)
}
