import { Type, type Static, type TSchema } from '@sinclair/typebox'
import { NextCursor, ObjectIdHex, PageNumber, PhoneNumber, Timestamp } from './common.js'

export const UserCreation = Type.Object({
  username: Type.String({ description: '1 to 64 characters after trimming; unique without regard to case', examples: ['meera'] }),
  number: PhoneNumber,
  admin: Type.Optional(Type.Unknown({ description: 'Counts only when an admin sends it, as a JSON boolean' }))
}, { $id: 'UserCreation', examples: [{ username: 'meera', number: '+919876543210' }] })
export type UserCreation = Static<typeof UserCreation>

export const UserCreated = Type.Object({
  message: Type.String({ examples: ['User created'] }),
  user_id: ObjectIdHex
}, { $id: 'UserCreated', additionalProperties: false, examples: [{ message: 'User created', user_id: '665f1c2ab7e4d90012ab34cd' }] })

const seed = {
  _id: ObjectIdHex,
  username: Type.String({ examples: ['meera'] }),
  number: Type.String({ description: 'E.164; all but the last four digits are `*` unless it is the caller\'s own or the caller an admin', examples: ['+********3210'] }),
  created_on: Timestamp
}

export const User = Type.Object(seed, { $id: 'User', additionalProperties: false, examples: [{ _id: '665f1c2ab7e4d90012ab34cd', username: 'meera', number: '+********3210', created_on: '2026-05-04T10:11:12.345Z' }] })
export type User = Static<typeof User>

const meera = { _id: '665f1c2ab7e4d90012ab34cd', username: 'meera', number: '+919876543210', created_on: '2026-05-04T10:11:12.345Z', admin: false }

export const CurrentUser = Type.Object({ ...seed, admin: Type.Boolean() }, { $id: 'CurrentUser', additionalProperties: false, examples: [meera] })
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
  otp: Type.String({ description: 'The six digits of the text', examples: ['123456'] })
}, { $id: 'NumberChange', examples: [{ number: '+919876543211', otp: '123456' }] })

export const NumberChanged = Type.Object({
  ...CurrentUser.properties,
  access_token: Type.String({ description: 'For the same session; those issued before stay good too' }),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer({ description: 'Seconds', examples: [2592000] })
}, { $id: 'NumberChanged', additionalProperties: false, examples: [{ ...meera, number: '+919876543211', access_token: 'eyJhbGciOiJIUzI1NiIs…', token_type: 'Bearer', expires_in: 2592000 }] })

/** A user as admins see them. */
export const ManagedUser = Type.Object({ ...CurrentUser.properties, blocked: Type.Boolean() }, { $id: 'ManagedUser', additionalProperties: false, examples: [{ ...meera, blocked: false }] })
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
  users: Type.Array(Type.Unsafe<ManagedUser>({ $ref: 'ManagedUser#' }), { maxItems: 100 }),
  next_cursor: NextCursor
}, { $id: 'UserPage', additionalProperties: false, examples: [{ users: [{ ...meera, blocked: false }], next_cursor: null }] })
export type UserPage = Static<typeof UserPage>

const orNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])

export const LoginState = Type.Object({
  texts: Type.Array(Timestamp, { description: 'When codes were sent, of the last 24 hours at least' }),
  failures: Type.Array(Timestamp, { description: 'When wrong codes were tried' }),
  failures_in_row: Type.Integer(),
  locked_until: orNull(Timestamp),
  code: orNull(Type.Object({ issued_at: Timestamp, expires_at: Timestamp, tries: Type.Integer(), used_at: orNull(Timestamp) }, { description: 'The last code, but for its digits, which are not stored' }))
}, {
  $id: 'LoginState',
  additionalProperties: false,
  examples: [{ texts: ['2026-05-04T10:10:50.000Z'], failures: [], failures_in_row: 0, locked_until: null, code: { issued_at: '2026-05-04T10:10:50.000Z', expires_at: '2026-05-04T10:15:50.000Z', tries: 1, used_at: '2026-05-04T10:11:12.345Z' } }]
})
export type LoginState = Static<typeof LoginState>

export const RecordedEvent = Type.Object({
  at: Timestamp,
  event: Type.String({ examples: ['session.opened'] }),
  count: Type.Integer({ minimum: 1, description: 'Equal events of a moment are one' }),
  network: Type.Optional(Type.String({ description: 'Where the request came from, shortened; not of what others did', examples: ['203.0.113.0/24'] })),
  request_id: Type.Optional(Type.String()),
  details: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean()]))
}, {
  $id: 'RecordedEvent',
  additionalProperties: false,
  examples: [{ at: '2026-05-04T10:11:12.345Z', event: 'otp.verified', count: 1, network: '203.0.113.0/24', request_id: '7b0c1d5e-3a51-4a0c-9d8e-1f2a3b4c5d6e', details: {} }]
})
export type RecordedEvent = Static<typeof RecordedEvent>

export const PersonalData = Type.Object({
  exported_at: Timestamp,
  user: orNull(Type.Unsafe<CurrentUser>({ $ref: 'CurrentUser#' })),
  duplicates: Type.Array(Type.Unsafe<User>({ $ref: 'User#' }), { description: 'Further users that the number had once, with the number as it was written' }),
  sessions: Type.Array(Type.Unsafe<unknown>({ $ref: 'Session#' })),
  login: orNull(Type.Unsafe<LoginState>({ $ref: 'LoginState#' })),
  uploads: Type.Array(Type.Object({ id: ObjectIdHex, started_at: Timestamp }), { description: 'In flight' }),
  items: Type.Array(Type.Unsafe<unknown>({ $ref: 'LibraryItem#' }), { description: 'The caller\'s own, newest first' }),
  audit: Type.Array(Type.Unsafe<RecordedEvent>({ $ref: 'RecordedEvent#' }), { description: 'What was written down about the phone number in the last 90 days, since it is the caller\'s, newest first' })
}, {
  $id: 'PersonalData',
  additionalProperties: false,
  examples: [{ exported_at: '2026-05-05T08:00:00.000Z', user: meera, duplicates: [], sessions: [], login: null, uploads: [], items: [], audit: [{ at: '2026-05-05T08:00:00.000Z', event: 'user.exported', count: 1, network: '203.0.113.0/24', request_id: '7b0c1d5e-3a51-4a0c-9d8e-1f2a3b4c5d6e', details: {} }] }]
})

export const UserId = Type.Object({ id: ObjectIdHex })
