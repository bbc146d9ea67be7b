import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { OtpSent } from '../../../../schemas/auth.js'
import {
  anyOperation,
  BadRequest,
  Conflict,
  OldSignIn,
  ref,
  TooLarge,
  TooManyCodes,
  TooManyGuesses,
  Unauthorized,
  UnsupportedMediaType
} from '../../../../schemas/common.js'
import { NumberChange, NumberChangeRequest, NumberChangeResult } from '../../../../schemas/users.js'
import { toBearerReply } from '../../../../services/sessions/tokens.js'

const refusals = {
  ...anyOperation,
  400: BadRequest,
  401: Unauthorized,
  403: OldSignIn,
  413: TooLarge,
  415: UnsupportedMediaType
}

const routes: FastifyPluginAsyncTypebox = async app => {
  const { numberChange } = app
  app.addHook('onRequest', app.requireRecentSignIn)

  app.post('', {
    schema: {
      operationId: 'requestNumberChange',
      tags: ['users'],
      summary: 'Send a code to the caller\'s new phone number',
      description: 'Under the rules of `POST /auth/request-otp`. Nothing changes before the code came back. The caller must have signed in within the last 10 minutes.',
      body: ref(NumberChangeRequest),
      response: { 200: { ...ref(OtpSent), description: 'The code is on its way' }, ...refusals, 429: TooManyCodes }
    }
  }, async ({ body, caller, requestContext }) => {
    await numberChange.request(body.number, caller, requestContext)
    return { message: 'OTP sent' }
  })

  app.post('/verify', {
    schema: {
      operationId: 'changeNumber',
      tags: ['users'],
      summary: 'Give the caller the new phone number',
      description: 'Sessions, items and admin rights stay: they belong to the account. Under the rules of `POST /auth/verify-otp`. Only the right code shows whether another account has the number. The caller must have signed in within the last 10 minutes; one SMS tells the old number of the change.',
      body: ref(NumberChange),
      response: {
        200: {
          ...ref(NumberChangeResult),
          description: '`success` tells whether the code was right. If so, the number is changed'
        },
        ...refusals,
        409: Conflict,
        429: TooManyGuesses
      }
    }
  }, async ({ body, caller, requestContext }) => {
    const user = await numberChange.verify(body.number, body.otp, caller, requestContext)
    if (!user) return { success: false, message: 'Invalid OTP' }
    return { success: true, message: 'Number changed', ...user, ...toBearerReply(app.issueToken(caller)) }
  })
}

export default routes
