import { METHODS } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import fp from 'fastify-plugin'
import { answerError } from '../error-answers.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** The methods that a URL has a route for. */
    allowedMethods: (url: string) => string[]
  }
}

/**
 * Answers every refusal and failure in the contract's shape. Internal errors go to the log, once, and not to the
 * client.
 */
export default fp(async function errorHandler (app) {
  app.setErrorHandler<FastifyError>(answerError)
  app.decorate('allowedMethods', allowedMethods)
  app.setNotFoundHandler(answerNotFound)
  // whatever its body is
  app.addHook('preParsing', (request, reply, _payload, done) => {
    if (request.is404) answerNotFound(request, reply)
    else done()
  })

  function answerNotFound (request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const allowed = allowedMethods(request.raw.url!)
    if (allowed.length === 0 || allowed.includes(request.method)) return reply.code(404).send({ error: 'Not found' })
    return reply.code(405).header('allow', allowed.join(', ')).send({ error: 'Method not allowed' })
  }

  function allowedMethods (url: string): string[] {
    const path = url.split('?')[0]!
    return METHODS.filter(method => app.findRoute({ method: method as HTTPMethods, url: path }))
  }
}, { name: 'error-handler' })
