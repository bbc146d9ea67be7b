import { Type, type Static } from '@sinclair/typebox'
import { NextCursor, ObjectIdHex, PageNumber, ref, Timestamp } from './common.js'
import { itemExample, LibraryItem } from './library.js'

export const REPORT_REASONS = ['spam', 'nudity', 'hate', 'violence', 'copyright', 'other'] as const
export type ReportReason = typeof REPORT_REASONS[number]

const Reason = Type.Unsafe<ReportReason>({ type: 'string', enum: REPORT_REASONS, examples: ['spam'] })
/** In an answer, where a generated client would refuse a reason of a later version. */
const StoredReason = Type.Unsafe<ReportReason>({ type: 'string', examples: ['spam'] })

export const Report = Type.Object({
  reason: Reason,
  comment: Type.Optional(Type.String({
    maxLength: 500,
    description: 'For the moderators. Empty or blank, it counts as not sent',
    examples: ['An advertisement']
  }))
}, { $id: 'Report', examples: [{ reason: 'spam', comment: 'An advertisement' }] })
export type Report = Static<typeof Report>

export const ReportReceived = Type.Object({
  message: Type.String({ examples: ['Report received'] })
}, { $id: 'ReportReceived', examples: [{ message: 'Report received' }] })

export const DECISIONS = ['keep', 'hide', 'remove'] as const

export const Review = Type.Object({
  decision: Type.Unsafe<typeof DECISIONS[number]>({
    type: 'string',
    enum: DECISIONS,
    description: '`keep` shows the item, and later reports hide it no more; `hide` shows it to its owner and admins ' +
      'alone; `remove` deletes it and its files',
    examples: ['keep']
  })
}, { $id: 'Review', examples: [{ decision: 'keep' }] })
export type Review = Static<typeof Review>

const comment = { reason: 'spam', text: 'An advertisement', created_at: '2026-05-04T10:11:12.345Z' } as const

export const ReportComment = Type.Object({
  reason: StoredReason,
  text: Type.String({ examples: [comment.text] }),
  created_at: Timestamp
}, { $id: 'ReportComment', examples: [comment] })
export type ReportComment = Static<typeof ReportComment>

const entry = {
  item: itemExample,
  count: 2,
  reasons: { spam: 2 },
  first_at: '2026-05-04T10:11:12.345Z',
  last_at: '2026-05-04T12:11:12.345Z',
  comments: [comment]
}

export const ReportedItem = Type.Object({
  item: ref(LibraryItem),
  count: Type.Integer({ minimum: 1, description: 'Open reports', examples: [2] }),
  reasons: Type.Record(Type.String(), Type.Integer(), { description: 'The same by reason', examples: [{ spam: 2 }] }),
  first_at: Timestamp,
  last_at: Timestamp,
  comments: Type.Array(ref(ReportComment), { maxItems: 20, description: 'The 20 newest, newest first' })
}, { $id: 'ReportedItem', examples: [entry] })
export type ReportedItem = Static<typeof ReportedItem>

export const ReportQuery = Type.Object({
  limit: Type.Optional({ ...PageNumber(20), description: 'Above 100 is served as 100' }),
  cursor: Type.Optional(Type.String({ description: '`next_cursor` of the page before' }))
})
export type ReportQuery = Static<typeof ReportQuery>

export const ReportPage = Type.Object({
  reports: Type.Array(ref(ReportedItem), { maxItems: 100 }),
  next_cursor: NextCursor
}, { $id: 'ReportPage', examples: [{ reports: [entry], next_cursor: null }] })
export type ReportPage = Static<typeof ReportPage>

/** A report in the export of the account that made it. */
export const OwnReport = Type.Object({
  item_id: ObjectIdHex,
  reason: StoredReason,
  comment: Type.Optional(Type.String()),
  created_at: Timestamp
}, {
  $id: 'OwnReport',
  examples: [{ item_id: itemExample.id, reason: 'spam', created_at: '2026-05-04T10:11:12.345Z' }]
})
export type OwnReport = Static<typeof OwnReport>

const block = { user_id: '665f1c2ab7e4d90012ab34ce', username: 'arjun', created_at: '2026-05-04T10:11:12.345Z' }

export const Block = Type.Object({
  user_id: ObjectIdHex,
  username: Type.String({ description: 'Empty where the account has no name', examples: ['arjun'] }),
  created_at: Timestamp
}, { $id: 'Block', examples: [block] })
export type Block = Static<typeof Block>

export const BlockList = Type.Object({
  blocks: Type.Array(ref(Block), { maxItems: 200 })
}, { $id: 'BlockList', examples: [{ blocks: [block] }] })
export type BlockList = Static<typeof BlockList>
