import { Type, type Static } from '@sinclair/typebox'

/** The members of Twilio's report that are read. It has many more, and may get new ones. */
export const TwilioStatus = Type.Object({
  MessageStatus: Type.Optional(Type.String({ examples: ['undelivered'] })),
  To: Type.Optional(Type.String({ examples: ['+919876543210', 'whatsapp:+919876543210'] })),
  ErrorCode: Type.Optional(Type.String({ examples: ['30003'] }))
}, { $id: 'TwilioStatus', examples: [{ MessageStatus: 'undelivered', To: '+919876543210', ErrorCode: '30003' }] })
export type TwilioStatus = Static<typeof TwilioStatus>

export const TwilioReference = Type.Object({
  reference: Type.Optional(Type.String({
    pattern: '^[0-9]{1,15}$',
    description: 'The time at which the SMS was sent: milliseconds since 1970'
  }))
})
export type TwilioReference = Static<typeof TwilioReference>
