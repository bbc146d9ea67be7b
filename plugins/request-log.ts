import fp from 'fastify-plugin'
import { maskAddress } from '../services/client-network.js'

/** The pattern of a parameter in a route. */
const PATTERN = /\([^/]*\)/g

/** Logs one line for each request, with its route: a typed path or query may hold a phone number or a token. */
export default fp(async function requestLog (app) {
  app.addHook('onResponse', (request, reply, done) => {
    const { method, clientAddress, routeOptions: { url: route = 'unknown' } } = request
    request.log.info({
      event: 'request.finished',
      method,
      route: route.replace(PATTERN, ''),
      status: reply.statusCode,
      network: maskAddress(clientAddress),
      ms: Math.round(reply.elapsedTime)
    })
    done()
  })
}, { name: 'request-log', dependencies: ['client-address'] })
