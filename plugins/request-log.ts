import fp from 'fastify-plugin'
import { maskAddress } from '../services/client-network.js'
import { routeName } from '../services/route-name.js'

/** Logs one line for each request, with its route: a typed path or query may hold a phone number or a token. */
export default fp(async function requestLog (app) {
  app.onRequestEnd((request, reply, isAborted) => {
    const { method, clientAddress, routeOptions, authenticated, log } = request
    log.info({
      event: isAborted ? 'request.aborted' : 'request.finished',
      method,
      route: routeName(routeOptions.url),
      network: maskAddress(clientAddress),
      account: authenticated?.account._id.toHexString(),
      ms: Math.round(reply.elapsedTime),
      status: isAborted ? undefined : reply.statusCode,
      bytes: isAborted ? undefined : Number(reply.getHeader('content-length') ?? 0)
    })
  })
}, { name: 'request-log', dependencies: ['client-address', 'request-caller', 'request-end'] })
