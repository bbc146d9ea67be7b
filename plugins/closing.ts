import fp from 'fastify-plugin'
import { ServiceError } from '../services/errors.js'

/** While the process stops, requests on connections that are still open get 503 instead of a cut; those under way are finished. */
export default fp(async function closing (app) {
  let stopping = false
  app.addHook('preClose', async () => { stopping = true })
  app.addHook('onRequest', async (_request, reply) => {
    if (!stopping) return
    reply.header('connection', 'close')
    throw new ServiceError(503, 'Server is stopping', { retryAfter: 5 })
  })
}, { name: 'closing', dependencies: ['error-handler', 'security'] })
