import fp from 'fastify-plugin'
import { maskAddress } from '../services/client-network.js'

/** What a route says of the text that a parameter may have. */
const PATTERN = /\([^/]*\)/g

/** One line for each request, by its route: a path or a query that somebody typed may hold a number or a token. */
export default fp(async function requestLog (app) {
  app.addHook('onResponse', async (request, reply) => {
    const { method, clientAddress, routeOptions: { url: route = 'unknown' } } = request
    request.log.info({
      event: 'request',
      method,
      route: route.replace(PATTERN, ''),
      status: reply.statusCode,
      network: maskAddress(clientAddress),
      ms: Math.round(reply.elapsedTime)
    })
  })
}, { name: 'request-log', dependencies: ['client-address'] })
