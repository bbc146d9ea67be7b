import { Type, type Static } from '@sinclair/typebox'
import { PhoneNumber, Timestamp } from './common.js'

export const Platform = Type.Unsafe<'android' | 'ios' | 'web' | 'other'>({
  type: 'string',
  enum: ['android', 'ios', 'web', 'other'],
  description: 'Decides the wording of the SMS, so that the phone can fill in the code by itself'
})
export type Platform = Static<typeof Platform>

export const OtpRequest = Type.Object({
  phone: PhoneNumber,
  platform: Type.Optional(Platform)
}, { $id: 'OtpRequest', examples: [{ phone: '+919876543210', platform: 'android' }] })
export type OtpRequest = Static<typeof OtpRequest>

export const OtpSent = Type.Object({
  message: Type.String({ examples: ['OTP sent'] })
}, { $id: 'OtpSent', examples: [{ message: 'OTP sent' }] })

export const OtpVerification = Type.Object({
  phone: PhoneNumber,
  otp: Type.String({ description: 'The six digits of the SMS', examples: ['123456'] }),
  refresh: Type.Optional(Type.Boolean({ description: 'Asks for a short access token and a refresh token' }))
}, { $id: 'OtpVerification', examples: [{ phone: '+919876543210', otp: '123456' }] })
export type OtpVerification = Static<typeof OtpVerification>

const bearer = {
  access_token: Type.String({
    description: 'A JSON Web Token for `Authorization: Bearer`',
    examples: ['eyJhbGciOiJIUzI1NiIs…']
  }),
  token_type: Type.String({ description: 'Always `Bearer`', examples: ['Bearer'] }),
  expires_in: Type.Integer({ description: 'Seconds until the access token expires', examples: [2592000] })
}
const RefreshToken = Type.String({
  description: 'For `POST /auth/refresh`; works once',
  examples: ['665f1c2ab7e4d90012ab34cd.0.kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k']
})

/** One schema for both outcomes: generated clients cannot tell alternatives apart. */
export const OtpResult = Type.Object({
  success: Type.Boolean({ description: 'Whether the code was right. The members of the token are there only then' }),
  message: Type.String({ examples: ['OTP verified'] }),
  ...Type.Partial(Type.Object({ ...bearer, refresh_token: RefreshToken })).properties
}, {
  $id: 'OtpResult',
  examples: [
    {
      success: true,
      message: 'OTP verified',
      access_token: 'eyJhbGciOiJIUzI1NiIs…',
      token_type: 'Bearer',
      expires_in: 2592000
    },
    { success: false, message: 'Invalid OTP' }
  ]
})

export const Refresh = Type.Object({
  refresh_token: RefreshToken
}, {
  $id: 'Refresh',
  examples: [{ refresh_token: '665f1c2ab7e4d90012ab34cd.0.kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k' }]
})

export const Refreshed = Type.Object({
  ...bearer,
  refresh_token: RefreshToken
}, {
  $id: 'Refreshed',
  examples: [
    {
      access_token: 'eyJhbGciOiJIUzI1NiIs…',
      token_type: 'Bearer',
      expires_in: 900,
      refresh_token: '665f1c2ab7e4d90012ab34cd.1.PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw'
    }
  ]
})

const Scope = Type.Unsafe<'current' | 'others' | 'all'>({
  type: 'string',
  enum: ['current', 'others', 'all'],
  default: 'current'
})
export type LogoutScope = Static<typeof Scope>

export const Logout = Type.Object({
  scope: Type.Optional(Scope)
}, { $id: 'Logout', examples: [{ scope: 'all' }] })

export const Session = Type.Object({
  id: Type.String({ examples: ['665f1c2ab7e4d90012ab34cd'] }),
  created_at: Timestamp,
  last_used_at: Timestamp,
  expires_at: Timestamp,
  user_agent: Type.String({ description: 'The `User-Agent` of the sign-in', examples: ['okhttp/4.12.0'] }),
  current: Type.Boolean({ description: 'True for the session of this request' })
}, {
  $id: 'Session',
  examples: [
    {
      id: '665f1c2ab7e4d90012ab34cd',
      created_at: '2026-05-04T10:11:12.345Z',
      last_used_at: '2026-05-05T08:00:00.000Z',
      expires_at: '2026-06-03T10:11:12.345Z',
      user_agent: 'okhttp/4.12.0',
      current: true
    }
  ]
})
export type Session = Static<typeof Session>

export const Sessions = Type.Object({
  sessions: Type.Array(Type.Ref(Session), { maxItems: 10, description: 'Newest first' })
}, {
  $id: 'Sessions',
  examples: [
    {
      sessions: [
        {
          id: '665f1c2ab7e4d90012ab34cd',
          created_at: '2026-05-04T10:11:12.345Z',
          last_used_at: '2026-05-05T08:00:00.000Z',
          expires_at: '2026-06-03T10:11:12.345Z',
          user_agent: 'okhttp/4.12.0',
          current: true
        }
      ]
    }
  ]
})

export const SessionId = Type.Object({ id: Type.String() })
