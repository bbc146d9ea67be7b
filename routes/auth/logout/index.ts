import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Logout } from '../../../schemas/auth.js'
import {
  anyOperation,
  BadRequest,
  NoContent,
  ref,
  TooLarge,
  Unauthorized,
  UnsupportedMediaType
} from '../../../schemas/common.js'

const routes: FastifyPluginAsyncTypebox = async app => {
  const { sessions } = app

  app.post('', {
    schema: {
      operationId: 'logOut',
      tags: ['auth'],
      summary: 'Sign out: here, everywhere else, or everywhere',
      description: 'At once for this instance, within ten seconds for all.',
      body: ref(Logout),
      response: {
        204: NoContent,
        ...anyOperation,
        400: BadRequest,
        401: Unauthorized,
        413: TooLarge,
        415: UnsupportedMediaType
      }
    }
  }, async ({ body: { scope = 'current' }, caller, requestContext }, reply) => {
    await sessions.logOut(scope, caller, requestContext)
    return reply.code(204).send()
  })
}

export default routes
