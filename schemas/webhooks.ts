import { Type } from '@sinclair/typebox'

/** What is read of Twilio's report; it holds much more, and may hold anything new. */
export const TwilioStatus = Type.Object({
  MessageStatus: Type.Optional(Type.String({ examples: ['undelivered'] })),
  To: Type.Optional(Type.String({ examples: ['+919876543210', 'whatsapp:+919876543210'] })),
  ErrorCode: Type.Optional(Type.String({ examples: ['30003'] }))
}, { $id: 'TwilioStatus', examples: [{ MessageStatus: 'undelivered', To: '+919876543210', ErrorCode: '30003' }] })

export const TwilioReference = Type.Object({
  reference: Type.Optional(Type.String({
    pattern: '^[0-9]{1,15}$',
    description: 'When the text was sent: milliseconds since 1970'
  }))
})
