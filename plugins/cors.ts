import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { listOf } from '../services/config.js'

const MAX_AGE_SECONDS = 600
/** The methods that a page may use. A route that lacks one answers 405. */
const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE'
const EXPOSED = [
  'etag', 'x-request-id', 'retry-after', 'idempotency-replayed', 'www-authenticate', 'allow', 'content-disposition'
].join(
  ', '
)

/**
 * Lets the web pages of CORS_ORIGINS call the service and read its answers. Other requests are answered as if there
 * were no CORS.
 */
export default fp(async function cors (app) {
  const origins = listOf(app.config.CORS_ORIGINS)
  if (origins.length === 0) return
  app.addHook('onRequest', async (request, reply) => {
    reply.header('vary', 'Origin')
    const { origin } = request.headers
    if (origin === undefined || !origins.includes(origin)) return
    reply.header('access-control-allow-origin', origin).header('access-control-expose-headers', EXPOSED)
    if (isPreflight(request) && app.allowedMethods(request.raw.url!).length > 0) return allow(request, reply)
  })
}, { name: 'cors', dependencies: ['env', 'error-handler', 'connections'] })

/** Fetch Standard, "CORS-preflight request". */
const isPreflight = ({ method, headers }: FastifyRequest) => method === 'OPTIONS' &&
  headers['access-control-request-method'] !== undefined

function allow ({ headers }: FastifyRequest, reply: FastifyReply): FastifyReply {
  const asked = headers['access-control-request-headers']
  reply.headers({
    'access-control-allow-methods': METHODS,
    'access-control-max-age': String(MAX_AGE_SECONDS),
    vary: 'Origin, Access-Control-Request-Headers',
    ...(asked !== undefined && { 'access-control-allow-headers': asked })
  })
  return reply.code(204).send()
}
