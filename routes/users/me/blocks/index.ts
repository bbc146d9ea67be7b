import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import {
  anyOperation,
  BadBlock,
  BadUserId,
  BlockConflict,
  NoContent,
  ref,
  TooLarge,
  Unauthorized,
  UnsupportedMediaType,
  UserNotFound
} from '../../../../schemas/common.js'
import { BlockList } from '../../../../schemas/moderation.js'
import { UserId } from '../../../../schemas/users.js'

const refusals = { ...anyOperation, 401: Unauthorized }
const config = { invalidParams: 'Invalid user id' }

const routes: FastifyPluginAsyncTypebox = async app => {
  const { blocks } = app

  app.get('', {
    config: { showsAccount: true },
    schema: {
      operationId: 'listBlocks',
      tags: ['users'],
      summary: 'The accounts that the caller has blocked',
      response: { 200: { ...ref(BlockList), description: 'All of them, newest first' }, ...refusals }
    }
  }, ({ caller }) => blocks.list(caller))

  app.put('/:id', {
    config,
    schema: {
      operationId: 'addBlock',
      tags: ['users'],
      summary: 'Block an account',
      description: 'Its items are left out of the caller\'s lists and of their totals, at once on this instance and within 10 s elsewhere. `GET /library/{id}` still shows one. At most 200 accounts.',
      params: UserId,
      response: {
        204: NoContent,
        ...refusals,
        400: BadBlock,
        404: UserNotFound,
        409: BlockConflict,
        413: TooLarge,
        415: UnsupportedMediaType
      }
    }
  }, async ({ params, caller, requestContext }, reply) => {
    await blocks.add(params.id, caller, requestContext)
    return reply.code(204).send()
  })

  app.delete('/:id', {
    config,
    schema: {
      operationId: 'removeBlock',
      tags: ['users'],
      summary: 'Take a block back',
      params: UserId,
      response: { 204: NoContent, ...refusals, 400: BadUserId, 413: TooLarge, 415: UnsupportedMediaType }
    }
  }, async ({ params, caller, requestContext }, reply) => {
    await blocks.remove(params.id, caller, requestContext)
    return reply.code(204).send()
  })
}

export default routes
