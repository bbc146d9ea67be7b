import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { OtpSent } from '../../../../schemas/auth.js'
import { anyOperation, BadRequest, Conflict, OldSignIn, ref, TooLarge, TooManyCodes, TooManyGuesses, Unauthorized, UnsupportedMediaType, UserNotFound } from '../../../../schemas/common.js'
import { NumberChange, NumberChangeRequest, NumberChangeResult } from '../../../../schemas/users.js'
import { invalidToken } from '../../../../services/errors.js'
import { createNumbers } from '../../../../services/numbers.js'

const refusals = { ...anyOperation, 400: BadRequest, 401: Unauthorized, 403: OldSignIn, 404: UserNotFound, 413: TooLarge, 415: UnsupportedMediaType }
const security = [{ bearer: [] }]

const routes: FastifyPluginAsyncTypebox = async app => {
  const { collections, config, login, moves, sessions, standing } = app
  const numbers = createNumbers({ users: collections.users, login, moves, standing, region: config.DEFAULT_REGION })
  app.addHook('onRequest', app.authenticate)
  app.addHook('onRequest', app.requireRecentSignIn)
  app.removeContentTypeParser('multipart/form-data')

  app.post('', {
    schema: {
      operationId: 'requestNumberChange',
      tags: ['users'],
      summary: 'Send a code to the caller\'s new phone number',
      description: 'Under the rules of `POST /auth/request-otp`. Nothing changes before the code came back. The caller must have signed in within the last 10 minutes.',
      security,
      body: ref(NumberChangeRequest),
      response: { 200: { ...ref(OtpSent), description: 'The code is on its way' }, ...refusals, 429: TooManyCodes }
    }
  }, async ({ body, phone, visitor }) => {
    await numbers.request(body.number, phone, visitor)
    return { message: 'OTP sent' }
  })

  app.post('/verify', {
    schema: {
      operationId: 'changeNumber',
      tags: ['users'],
      summary: 'Move the caller to the new phone number',
      description: 'Items, sessions and admin rights move along. Under the rules of `POST /auth/verify-otp`. Whether somebody has the number is told only with the right code. The caller must have signed in within the last 10 minutes; one SMS tells the old number of the change.',
      security,
      body: ref(NumberChange),
      response: { 200: { ...ref(NumberChangeResult), description: '`success` tells whether the code was right. If so, the number is changed' }, ...refusals, 409: Conflict, 429: TooManyGuesses }
    }
  }, async ({ body, phone, sessionId, visitor }) => {
    const user = await numbers.verify(body.number, body.otp, phone, visitor)
    if (!user) return { success: false, message: 'Invalid OTP' }
    const session = await sessions.find(sessionId)
    if (!session) throw invalidToken()
    const { token, expiresIn } = app.issueToken(session)
    return { success: true, message: 'Number changed', ...user, access_token: token, token_type: 'Bearer', expires_in: expiresIn }
  })
}

export default routes
