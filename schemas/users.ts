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
}, { $id: 'UserCreated', additionalProperties: false })

const seed = {
  _id: ObjectIdHex,
  username: Type.String({ examples: ['meera'] }),
  number: Type.String({ description: 'E.164; all but the last four digits are `*` unless it is the caller\'s own', examples: ['+********3210'] }),
  created_on: Timestamp
}

export const User = Type.Object(seed, { $id: 'User', additionalProperties: false })
export type User = Static<typeof User>

export const CurrentUser = Type.Object({ ...seed, admin: Type.Boolean() }, { $id: 'CurrentUser', additionalProperties: false })
export type CurrentUser = Static<typeof CurrentUser>

export const UserId = Type.Object({ id: ObjectIdHex })
