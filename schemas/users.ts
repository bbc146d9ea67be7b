import { Type, type Static } from '@sinclair/typebox'
import { ObjectIdHex, PhoneNumber, Timestamp } from './common.js'

export const UserCreation = Type.Object({
  username: Type.String({ description: '1 to 64 characters after trimming; unique without regard to case', examples: ['meera'] }),
  number: PhoneNumber
}, { $id: 'UserCreation', examples: [{ username: 'meera', number: '+919876543210' }] })
export type UserCreation = Static<typeof UserCreation>

export const UserCreated = Type.Object({
  message: Type.String({ examples: ['User created'] }),
  user_id: ObjectIdHex
}, { $id: 'UserCreated', additionalProperties: false, examples: [{ message: 'User created', user_id: '665f1c2ab7e4d90012ab34cd' }] })

const seed = {
  _id: ObjectIdHex,
  username: Type.String({ examples: ['meera'] }),
  number: Type.String({ description: 'E.164; all but the last four digits are `*` unless it is the caller\'s own', examples: ['+********3210'] }),
  created_on: Timestamp
}

export const User = Type.Object(seed, { $id: 'User', additionalProperties: false, examples: [{ _id: '665f1c2ab7e4d90012ab34cd', username: 'meera', number: '+********3210', created_on: '2026-05-04T10:11:12.345Z' }] })
export type User = Static<typeof User>

export const CurrentUser = Type.Object({ ...seed, admin: Type.Boolean() }, { $id: 'CurrentUser', additionalProperties: false, examples: [{ _id: '665f1c2ab7e4d90012ab34cd', username: 'meera', number: '+919876543210', created_on: '2026-05-04T10:11:12.345Z', admin: false }] })
export type CurrentUser = Static<typeof CurrentUser>

export const UserId = Type.Object({ id: ObjectIdHex })
