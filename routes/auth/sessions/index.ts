import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { SessionId, Sessions } from '../../../schemas/auth.js'
import {
  anyOperation,
  BadRequest,
  NoContent,
  ref,
  SessionNotFound,
  TooLarge,
  Unauthorized,
  UnsupportedMediaType
} from '../../../schemas/common.js'

const refusals = { ...anyOperation, 401: Unauthorized }

const routes: FastifyPluginAsyncTypebox = async app => {
  const { sessions } = app

  app.get('', {
    config: { showsAccount: true },
    schema: {
      operationId: 'listSessions',
      tags: ['auth'],
      summary: 'The devices where the caller is signed in',
      response: { 200: { ...ref(Sessions), description: 'At most ten' }, ...refusals }
    }
  }, async ({ caller }) => ({ sessions: sessions.present(caller) }))

  app.delete('/:id', {
    schema: {
      operationId: 'endSession',
      tags: ['auth'],
      summary: 'Sign one device out',
      params: SessionId,
      response: {
        204: NoContent,
        ...refusals,
        400: BadRequest,
        404: SessionNotFound,
        413: TooLarge,
        415: UnsupportedMediaType
      }
    }
  }, async ({ params, caller, requestContext }, reply) => {
    await sessions.end(params.id, caller, requestContext)
    return reply.code(204).send()
  })
}

export default routes
