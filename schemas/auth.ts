import { Type, type Static } from '@sinclair/typebox'
import { PhoneNumber } from './common.js'

export const Platform = Type.Unsafe<'android' | 'ios' | 'web' | 'other'>({ type: 'string', enum: ['android', 'ios', 'web', 'other'], description: 'Decides how the text is worded, so that the phone can fill the code in by itself' })

export const OtpRequest = Type.Object({
  phone: PhoneNumber,
  platform: Type.Optional(Platform)
}, { $id: 'OtpRequest', examples: [{ phone: '+919876543210', platform: 'android' }] })
export type OtpRequest = Static<typeof OtpRequest>

export const OtpSent = Type.Object({
  message: Type.String({ examples: ['OTP sent'] })
}, { $id: 'OtpSent', additionalProperties: false, examples: [{ message: 'OTP sent' }] })

export const OtpVerification = Type.Object({
  phone: PhoneNumber,
  otp: Type.String({ description: 'The six digits of the text', examples: ['123456'] })
}, { $id: 'OtpVerification', examples: [{ phone: '+919876543210', otp: '123456' }] })
export type OtpVerification = Static<typeof OtpVerification>

export const OtpVerified = Type.Object({
  success: Type.Literal(true),
  message: Type.String({ examples: ['OTP verified'] }),
  access_token: Type.String({ description: 'A JSON Web Token for `Authorization: Bearer`' }),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer({ description: 'Seconds', examples: [2592000] })
}, { $id: 'OtpVerified', additionalProperties: false, examples: [{ success: true, message: 'OTP verified', access_token: 'eyJhbGciOiJIUzI1NiIs…', token_type: 'Bearer', expires_in: 2592000 }] })

export const OtpRejected = Type.Object({
  success: Type.Literal(false),
  message: Type.String({ examples: ['Invalid OTP'] })
}, { $id: 'OtpRejected', additionalProperties: false, examples: [{ success: false, message: 'Invalid OTP' }] })
