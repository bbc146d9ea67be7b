import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { anyOperation, ref } from '../../schemas/common.js'
import { KeySet } from '../../schemas/keys.js'

export const autoPrefix = '/.well-known'

const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/jwks.json', {
    config: { public: true },
    schema: {
      operationId: 'listKeys',
      tags: ['auth'],
      summary: 'The public keys of access tokens',
      description: 'RFC 7517. Empty where there are shared secrets only (`JWT_ALGORITHM` HS256 without `JWT_PRIVATE_KEY`).',
      response: {
        200: { ...ref(KeySet), description: 'All keys that verify, also those of an earlier rotation' },
        ...anyOperation
      }
    }
  }, async (_request, reply) => {
    reply.header('cache-control', 'public, max-age=300')
    return { keys: app.publicKeys }
  })
}

export default routes
