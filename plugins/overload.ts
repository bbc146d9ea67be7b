import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { serverBusy } from '../services/errors.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered under any load, because load balancers and orchestrators rely on it. */
    isProbe?: boolean
  }
  interface FastifyRequest {
    /** Whether it counts towards MAX_REQUESTS now. */
    isCounted: boolean
  }
}

/**
 * At most MAX_REQUESTS requests are in progress. Further ones get 503, except probes. A request that waits for its
 * body, or whose answer waits for its client, is not in progress.
 */
export default fp(async function overload (app) {
  const { MAX_REQUESTS } = app.config
  let inProgress = 0
  app.decorateRequest('isCounted', false)
  app.addHook('onRequest', enter)
  app.addHook('preParsing', (request, _reply, _payload, done) => {
    if (!request.raw.complete) leave(request)
    done()
  })
  app.addHook('preValidation', enter)
  app.addHook('onSend', (request, _reply, payload, done) => {
    leave(request)
    done(null, payload)
  })

  function enter (request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void {
    if (request.isCounted || request.routeOptions.config.isProbe) return done()
    if (inProgress >= MAX_REQUESTS) return done(serverBusy())
    request.isCounted = true
    inProgress++
    done()
  }

  function leave (request: FastifyRequest): void {
    if (!request.isCounted) return
    request.isCounted = false
    inProgress--
  }
}, { name: 'overload', dependencies: ['env', 'security'] })
