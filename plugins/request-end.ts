import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

/** `isAborted`: the client left before it had the whole answer. */
type RequestEndListener = (request: FastifyRequest, reply: FastifyReply, isAborted: boolean) => void

declare module 'fastify' {
  interface FastifyInstance {
    /** Calls a listener once at the end of each request. */
    onRequestEnd: (listener: RequestEndListener) => void
    /** Requests that are not answered yet, probes included. */
    requestsInProgress: () => number
  }
}

/**
 * The end of a request, whole or not. Fastify's onRequestAbort does not know of a client that leaves after its whole
 * request. The log, the metrics and the spans share one listener of the response.
 */
export default fp(async function requestEnd (app) {
  const listeners: RequestEndListener[] = []
  let inProgress = 0
  app.decorate('onRequestEnd', listener => { listeners.push(listener) })
  app.decorate('requestsInProgress', () => inProgress)
  app.addHook('onRequest', (request, reply, done) => {
    inProgress++
    reply.raw.once('close', () => {
      inProgress--
      const isAborted = !reply.raw.writableFinished
      for (const listener of listeners) listener(request, reply, isAborted)
    })
    done()
  })
}, { name: 'request-end' })
