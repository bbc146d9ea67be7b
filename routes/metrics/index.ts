import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { anyOperation, Unauthorized } from '../../schemas/common.js'
import { invalidToken } from '../../services/errors.js'
import { isBearer } from '../../services/sessions/bearer.js'

const routes: FastifyPluginAsyncTypebox = async app => {
  const { metrics, config: { METRICS_TOKEN: secret, NODE_ENV } } = app
  if (secret === undefined && NODE_ENV === 'production') return

  app.addHook('onRequest', async ({ headers }) => {
    if (secret !== undefined && !isBearer(headers.authorization, secret)) throw invalidToken()
  })

  app.get('', {
    config: { public: true },
    schema: {
      operationId: 'getMetrics',
      tags: ['health'],
      summary: 'Counters of this process, for Prometheus',
      description: 'With `METRICS_TOKEN` set, that token as a bearer; in production there is no answer without.',
      response: {
        200: { description: 'Prometheus text format', content: { 'text/plain': { schema: { type: 'string' } } } },
        ...anyOperation,
        401: Unauthorized
      }
    }
  }, async (_request, reply) => reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()))
}

export default routes
