import type { FastifyRequest } from 'fastify'
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
  app.addHook('onRequest', async request => enter(request))
  app.addHook('preParsing', async request => { if (!request.raw.complete) leave(request) })
  app.addHook('preValidation', async request => enter(request))
  app.addHook('onSend', async request => leave(request))

  function enter (request: FastifyRequest): void {
    if (request.isCounted || request.routeOptions.config.isProbe) return
    if (inProgress >= MAX_REQUESTS) throw serverBusy()
    request.isCounted = true
    inProgress++
  }

  function leave (request: FastifyRequest): void {
    if (!request.isCounted) return
    request.isCounted = false
    inProgress--
  }
}, { name: 'overload', dependencies: ['env', 'security'] })
