import type { Collection } from 'mongodb'
import type {
  AuditDocument,
  LibraryDocument,
  MergedUser,
  OtpDocument,
  ReportDocument,
  UploadDocument
} from '../../schemas/documents.js'
import type { LibraryItem } from '../../schemas/library.js'
import type { BlockList, OwnReport } from '../../schemas/moderation.js'
import type { LoginState, RecordedEvent, User } from '../../schemas/users.js'
import type { createAudit } from '../audit.js'
import { jsonText } from './json-text.js'
import type { Caller, Clock, RequestContext } from '../ports.js'
import type { createSessions } from '../sessions/sessions.js'
import { toCurrentUser } from './users.js'

export interface AccountExportOptions {
  /** The state that the login has of a phone. */
  findLoginState: (phone: string) => Promise<OtpDocument | undefined>
  uploads: Collection<UploadDocument>
  library: Collection<LibraryDocument>
  reports: Collection<ReportDocument>
  listBlocks: (caller: Caller) => Promise<BlockList>
  sessions: Pick<ReturnType<typeof createSessions>, 'present'>
  audit: Pick<ReturnType<typeof createAudit>, 'each'>
  toItem: (row: LibraryDocument) => LibraryItem
  now: Clock
}

/** Rows in memory at a time. Without a limit the database sends 16 MiB. */
const BY_BATCH = { batchSize: 200 } as const

/** Everything that is stored about an account. */
export function createAccountExport ({
  findLoginState,
  uploads,
  library,
  reports,
  listBlocks,
  sessions,
  audit,
  toItem,
  now
}: AccountExportOptions) {
  return { exportOf }

  /**
   * The caller's stored data as the text of one JSON object, without anything that signs a user in; and the time of the
   * export. Large parts are read as the text is taken.
   */
  async function exportOf (caller: Caller, requestContext: RequestContext): Promise<{
    at: Date
    text: AsyncIterable<string>
  }> {
    const at = now()
    const { account } = caller
    const { _id: owner, number = '' } = account
    const otp = await findLoginState(number)
    const { blocks } = await listBlocks(caller)
    requestContext.record('user.exported', account)
    const text = jsonText({
      exported_at: at,
      user: toCurrentUser(account),
      former_numbers: (account.former_numbers ?? []).map(({ number, until }) => ({ number, until: toText(until) })),
      merged_users: (account.merged ?? []).map(toMergedUser),
      sessions: sessions.present(caller),
      ...(otp && { login: toLoginState(otp) }),
      uploads: map(uploads.find({ owner }, BY_BATCH), ({ _id, started_at: startedAt }) => ({
        id: _id.toHexString(),
        started_at: startedAt
      })),
      items: map(library.find({ owner }, BY_BATCH).sort({ created_at: -1, _id: -1 }), toItem),
      blocks,
      reports: map(reports.find({ account: owner }, BY_BATCH), toOwnReport),
      audit: map(audit.each(owner), toRecordedEvent)
    })
    return { at, text }
  }
}

const toMergedUser = ({ id, username, number, created_on: createdOn }: MergedUser): User => ({
  _id: id.toHexString(),
  username,
  number,
  created_on: toText(createdOn)
})

function toLoginState ({ challenge, sms, failures, locked_until: lockedUntil }: OtpDocument): LoginState {
  return {
    texts: sms.map(({ at }) => toText(at)),
    failures: failures.dates.map(toText),
    failures_in_row: failures.row,
    locked_until: lockedUntil && toText(lockedUntil),
    ...(challenge &&
      {
        code: {
          issued_at: toText(challenge.issued_at),
          expires_at: toText(challenge.expires_at),
          tries: challenge.tries,
          used_at: challenge.used_at && toText(challenge.used_at)
        }
      })
  }
}

const toOwnReport = ({ item, reason, comment, created_at: at }: ReportDocument): OwnReport => ({
  item_id: item.toHexString(),
  reason,
  ...(comment !== undefined && { comment }),
  created_at: toText(at)
})

/** An event for its account. Hides another account that caused it, and its network. */
function toRecordedEvent ({
  at,
  event,
  count,
  network,
  request_id: requestId,
  details: { by, ...details }
}: AuditDocument): RecordedEvent {
  return {
    at: toText(at),
    event,
    count,
    ...(by === undefined && { network, request_id: requestId }),
    details: Object.fromEntries(Object.entries(details).map(([name, value]) => [name, String(value)]))
  }
}

const toText = (date: Date) => date.toISOString()

async function * map <T, U> (values: AsyncIterable<T>, change: (value: T) => U): AsyncGenerator<U, void, undefined> {
  for await (const value of values) yield change(value)
}
