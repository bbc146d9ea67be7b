import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { OtpRejected, OtpRequest, OtpSent, OtpVerification, OtpVerified } from '../../schemas/auth.js'
import { anyOperation, BadRequest, ref, TooLarge, TooMany, UnsupportedMediaType } from '../../schemas/common.js'

const refusals = { ...anyOperation, 400: BadRequest, 413: TooLarge, 415: UnsupportedMediaType, 429: TooMany }

const routes: FastifyPluginAsyncTypebox = async app => {
  const { login } = app
  app.removeContentTypeParser('multipart/form-data')

  app.post('/request-otp', {
    schema: {
      operationId: 'requestOtp',
      tags: ['auth'],
      summary: 'Send a code by text message',
      description: 'A repeated request while a text is on its way answers the same and sends nothing.',
      security: [],
      body: ref(OtpRequest),
      response: { 200: { ...ref(OtpSent), description: 'The code is on its way' }, ...refusals }
    }
  }, async ({ body, visitor }) => {
    await login.requestOtp(body.phone, body.platform ?? 'other', visitor)
    return { message: 'OTP sent' }
  })

  app.post('/verify-otp', {
    schema: {
      operationId: 'verifyOtp',
      tags: ['auth'],
      summary: 'Exchange a code for an access token',
      description: 'A code lives five minutes, allows five tries, and gives exactly one token. Wrong, expired, used and never requested codes are answered alike.',
      security: [],
      body: ref(OtpVerification),
      response: { 200: { description: 'Verified, or not: `success` tells', anyOf: [ref(OtpVerified), ref(OtpRejected)] }, ...refusals }
    }
  }, async ({ body, visitor }) => {
    const phone = await login.verifyOtp(body.phone, body.otp, visitor)
    if (phone === undefined) return { success: false, message: 'Invalid OTP' }
    const { token, expiresIn } = app.issueToken(phone)
    return { success: true, message: 'OTP verified', access_token: token, token_type: 'Bearer', expires_in: expiresIn }
  })
}

export default routes
