import { Type, type Static } from '@sinclair/typebox'
import { OtpResult, Session } from './auth.js'
import { NextCursor, NullableTimestamp, ObjectIdHex, PageNumber, PhoneNumber, ref, Timestamp } from './common.js'
import { LibraryItem } from './library.js'
import { Block, OwnReport } from './moderation.js'

export const UserCreation = Type.Object({
  username: Type.String({
    description: '1 to 64 characters after trimming; unique without regard to case',
    examples: ['meera']
  }),
  number: PhoneNumber,
  admin: Type.Optional(Type.Boolean({ description: 'Counts only when an admin sends it' }))
}, { $id: 'UserCreation', examples: [{ username: 'meera', number: '+919876543210' }] })
export type UserCreation = Static<typeof UserCreation>

export const UserCreated = Type.Object({
  message: Type.String({ examples: ['User created'] }),
  user_id: ObjectIdHex
}, { $id: 'UserCreated', examples: [{ message: 'User created', user_id: '665f1c2ab7e4d90012ab34cd' }] })

const seed = {
  _id: ObjectIdHex,
  username: Type.String({ examples: ['meera'] }),
  number: Type.String({
    description: 'E.164; all but the last four digits are `*` unless it is the caller\'s own or the caller an admin',
    examples: ['+********3210']
  }),
  created_on: Timestamp
}

export const User = Type.Object(seed, {
  $id: 'User',
  examples: [
    {
      _id: '665f1c2ab7e4d90012ab34cd',
      username: 'meera',
      number: '+********3210',
      created_on: '2026-05-04T10:11:12.345Z'
    }
  ]
})
export type User = Static<typeof User>

const meera = {
  _id: '665f1c2ab7e4d90012ab34cd',
  username: 'meera',
  number: '+919876543210',
  created_on: '2026-05-04T10:11:12.345Z',
  admin: false
}

export const CurrentUser = Type.Object({ ...seed, admin: Type.Boolean() }, { $id: 'CurrentUser', examples: [meera] })
export type CurrentUser = Static<typeof CurrentUser>

export const CurrentUserChange = Type.Object({
  username: Type.Optional(UserCreation.properties.username)
}, { $id: 'CurrentUserChange', examples: [{ username: 'meera' }] })
export type CurrentUserChange = Static<typeof CurrentUserChange>

export const NumberChangeRequest = Type.Object({
  number: PhoneNumber
}, { $id: 'NumberChangeRequest', examples: [{ number: '+919876543211' }] })

export const NumberChange = Type.Object({
  number: PhoneNumber,
  otp: Type.String({ description: 'The six digits of the SMS', examples: ['123456'] })
}, { $id: 'NumberChange', examples: [{ number: '+919876543211', otp: '123456' }] })

/** One schema for both outcomes, as for `verify-otp`. */
export const NumberChangeResult = Type.Object({
  success: Type.Boolean({
    description: 'Whether the code was right. The members of the user and of the token are there only then'
  }),
  message: Type.String({ examples: ['Number changed'] }),
  ...Type.Partial(CurrentUser).properties,
  access_token: Type.Optional(Type.String({
    description: 'For the same session. Older access tokens stay good',
    examples: ['eyJhbGciOiJIUzI1NiIs…']
  })),
  token_type: OtpResult.properties.token_type,
  expires_in: OtpResult.properties.expires_in
}, {
  $id: 'NumberChangeResult',
  examples: [
    {
      success: true,
      message: 'Number changed',
      ...meera,
      number: '+919876543211',
      access_token: 'eyJhbGciOiJIUzI1NiIs…',
      token_type: 'Bearer',
      expires_in: 2592000
    },
    { success: false, message: 'Invalid OTP' }
  ]
})

/** A user as admins see them. */
export const ManagedUser = Type.Object({ ...CurrentUser.properties, blocked: Type.Boolean() }, {
  $id: 'ManagedUser',
  examples: [{ ...meera, blocked: false }]
})
export type ManagedUser = Static<typeof ManagedUser>

export const UserChange = Type.Object({
  admin: Type.Optional(Type.Boolean()),
  blocked: Type.Optional(Type.Boolean({ description: 'A blocked user is signed out, and cannot sign in' }))
}, { $id: 'UserChange', examples: [{ blocked: true }] })
export type UserChange = Static<typeof UserChange>

export const UserQuery = Type.Object({
  limit: Type.Optional({ ...PageNumber(50), description: 'Above 100 is served as 100' }),
  cursor: Type.Optional(Type.String({ description: '`next_cursor` of the page before' })),
  username: Type.Optional(Type.String({ description: 'The beginning of a username, without regard to case' })),
  number: Type.Optional(PhoneNumber)
})
export type UserQuery = Static<typeof UserQuery>

export const UserPage = Type.Object({
  users: Type.Array(ref(ManagedUser), { maxItems: 100 }),
  next_cursor: NextCursor
}, { $id: 'UserPage', examples: [{ users: [{ ...meera, blocked: false }], next_cursor: null }] })
export type UserPage = Static<typeof UserPage>

const code = {
  issued_at: '2026-05-04T10:10:50.000Z',
  expires_at: '2026-05-04T10:15:50.000Z',
  tries: 1,
  used_at: '2026-05-04T10:11:12.345Z'
}

export const LoginCode = Type.Object({
  issued_at: Timestamp,
  expires_at: Timestamp,
  tries: Type.Integer(),
  used_at: NullableTimestamp
}, { $id: 'LoginCode', description: 'The last code. Its digits are not stored', examples: [code] })

export const LoginState = Type.Object({
  texts: Type.Array(Timestamp, { description: 'When codes were sent, of the last 24 hours at least' }),
  failures: Type.Array(Timestamp, { description: 'When wrong codes were tried' }),
  failures_in_row: Type.Integer(),
  locked_until: NullableTimestamp,
  code: Type.Optional(ref(LoginCode))
}, {
  $id: 'LoginState',
  examples: [{ texts: ['2026-05-04T10:10:50.000Z'], failures: [], failures_in_row: 0, locked_until: null, code }]
})
export type LoginState = Static<typeof LoginState>

export const RecordedEvent = Type.Object({
  at: Timestamp,
  event: Type.String({ examples: ['session.opened'] }),
  count: Type.Integer({ minimum: 1, description: 'How many equal events this row stands for' }),
  network: Type.Optional(Type.String({
    description: 'The network of the client. Absent where another account did it',
    examples: ['203.0.113.0/24']
  })),
  request_id: Type.Optional(Type.String()),
  details: Type.Record(Type.String(), Type.String())
}, {
  $id: 'RecordedEvent',
  examples: [
    {
      at: '2026-05-04T10:11:12.345Z',
      event: 'otp.verified',
      count: 1,
      network: '203.0.113.0/24',
      request_id: '7b0c1d5e-3a51-4a0c-9d8e-1f2a3b4c5d6e',
      details: {}
    }
  ]
})
export type RecordedEvent = Static<typeof RecordedEvent>

export const OpenUpload = Type.Object({
  id: ObjectIdHex,
  started_at: Timestamp
}, { $id: 'OpenUpload', examples: [{ id: meera._id, started_at: '2026-05-04T10:11:12.345Z' }] })

export const FormerNumber = Type.Object({
  number: Type.String({ examples: ['+919876543211'] }),
  until: Timestamp
}, { $id: 'FormerNumber', examples: [{ number: '+919876543211', until: '2026-05-04T10:11:12.345Z' }] })

export const PersonalData = Type.Object({
  exported_at: Timestamp,
  user: { ...ref(CurrentUser), description: '`username` is empty before the account has a name' },
  former_numbers: Type.Array(ref(FormerNumber), { description: 'The account\'s earlier phone numbers' }),
  merged_users: Type.Array(ref(User), {
    description: 'Users of the replaced system with the same number, which are part of this account now; the number as it was written'
  }),
  sessions: Type.Array(ref(Session)),
  login: Type.Optional(ref(LoginState)),
  uploads: Type.Array(ref(OpenUpload), { description: 'Uploads in progress' }),
  items: Type.Array(ref(LibraryItem), { description: 'The caller\'s own, newest first' }),
  blocks: Type.Array(ref(Block), { description: 'The accounts that the caller has blocked' }),
  reports: Type.Array(ref(OwnReport), { description: 'The caller\'s reports of items that are still there' }),
  audit: Type.Array(ref(RecordedEvent), { description: 'The audit rows of the last 90 days, newest first' })
}, {
  $id: 'PersonalData',
  examples: [
    {
      exported_at: '2026-05-05T08:00:00.000Z',
      user: meera,
      former_numbers: [],
      merged_users: [],
      sessions: [],
      uploads: [],
      items: [],
      blocks: [],
      reports: [],
      audit: [
        {
          at: '2026-05-05T08:00:00.000Z',
          event: 'user.exported',
          count: 1,
          network: '203.0.113.0/24',
          request_id: '7b0c1d5e-3a51-4a0c-9d8e-1f2a3b4c5d6e',
          details: {}
        }
      ]
    }
  ]
})

export const UserId = Type.Object({ id: ObjectIdHex })
