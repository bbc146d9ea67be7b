import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { maskAddress } from '../services/client-network.js'
import { routeName } from '../services/route-name.js'

/** Logs one line for each request, with its route: a typed path or query may hold a phone number or a token. */
export default fp(async function requestLog (app) {
  app.addHook('onResponse', (request, reply, done) => {
    request.log.info({
      event: 'request.finished',
      ...factsOf(request, reply),
      status: reply.statusCode,
      bytes: Number(reply.getHeader('content-length') ?? 0)
    })
    done()
  })
  // a client that has left; Fastify's onRequestAbort does not know of one that has sent its whole request
  app.addHook('onRequest', (request, reply, done) => {
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) request.log.info({ event: 'request.aborted', ...factsOf(request, reply) })
    })
    done()
  })

  function factsOf ({ method, clientAddress, routeOptions, authenticated }: FastifyRequest, reply: FastifyReply) {
    return {
      method,
      route: routeName(routeOptions.url),
      network: maskAddress(clientAddress),
      ...(authenticated && { account: authenticated.account._id.toHexString() }),
      ms: Math.round(reply.elapsedTime)
    }
  }
}, { name: 'request-log', dependencies: ['client-address', 'request-caller'] })
