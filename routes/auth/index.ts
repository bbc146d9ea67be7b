import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { OtpRequest, OtpResult, OtpSent, OtpVerification, Refresh, Refreshed } from '../../schemas/auth.js'
import {
  anyOperation,
  BadRequest,
  ref,
  TooLarge,
  TooManyCodes,
  TooManyGuesses,
  Unauthorized,
  UnsupportedMediaType
} from '../../schemas/common.js'
import { toBearerReply } from '../../services/sessions/tokens.js'

const refusals = { ...anyOperation, 400: BadRequest, 413: TooLarge, 415: UnsupportedMediaType }

const routes: FastifyPluginAsyncTypebox = async app => {
  const { sessions, signIn } = app

  app.post('/request-otp', {
    config: { public: true },
    schema: {
      operationId: 'requestOtp',
      tags: ['auth'],
      summary: 'Send a code by SMS',
      description: 'A second request soon after an SMS answers the same and sends nothing.',
      body: ref(OtpRequest),
      response: { 200: { ...ref(OtpSent), description: 'The code is on its way' }, ...refusals, 429: TooManyCodes }
    }
  }, async ({ body, requestContext }) => {
    await signIn.requestOtp(body, requestContext)
    return { message: 'OTP sent' }
  })

  app.post('/verify-otp', {
    config: { public: true },
    schema: {
      operationId: 'verifyOtp',
      tags: ['auth'],
      summary: 'Exchange a code for an access token',
      description: 'A code lives five minutes, allows five tries, and gives exactly one token. Wrong, expired, used and never requested codes are answered alike.',
      body: ref(OtpVerification),
      response: {
        200: { ...ref(OtpResult), description: '`success` tells whether the code was right' },
        ...refusals,
        429: TooManyGuesses
      }
    }
  }, async ({ body, requestContext }) => {
    const opened = await signIn.verifyOtp(body, requestContext)
    if (!opened) return { success: false, message: 'Invalid OTP' }
    return {
      success: true,
      message: 'OTP verified',
      ...toBearerReply(app.issueToken(opened), opened.refreshToken)
    }
  })

  app.post('/refresh', {
    config: { public: true },
    schema: {
      operationId: 'refreshToken',
      tags: ['auth'],
      summary: 'Exchange a refresh token for new tokens',
      description: 'Every refresh token is used once. For ten seconds a parallel request with the same one gets the same successor; after that it counts as stolen, and its session ends.',
      body: ref(Refresh),
      response: {
        200: { ...ref(Refreshed), description: 'New tokens of the same session' },
        ...refusals,
        401: Unauthorized
      }
    }
  }, async ({ body, requestContext }) => {
    const refreshed = await sessions.refresh(body.refresh_token, requestContext)
    return toBearerReply(app.issueToken(refreshed), refreshed.refreshToken)
  })
}

export default routes
