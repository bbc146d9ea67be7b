import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import fp from 'fastify-plugin'
import { listOf } from '../services/config.js'
import { ServiceError } from '../services/errors.js'

const LONGEST_URL = 8192
const MOST_HEADERS = 200

/** What every answer carries and no request may exceed. */
export default fp(async function security (app) {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id).header('cache-control', 'no-store')
  })
  app.server.on('checkExpectation', (request, response) => {
    delete request.headers.expect // RFC 9110 §10.1.1: what is not understood may be overlooked
    app.server.emit('request', request, response)
  })
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    strictTransportSecurity: { maxAge: 31_536_000, includeSubDomains: true },
    crossOriginResourcePolicy: { policy: 'cross-origin' },
    xFrameOptions: { action: 'deny' }
  })
  const origin = listOf(app.config.CORS_ORIGINS)
  if (origin.length > 0) await app.register(cors, { origin, methods: METHODS, exposedHeaders: ['x-request-id', 'retry-after', 'idempotency-replayed'], maxAge: 600 })
  app.addHook('onRequest', async (request, reply) => {
    const refusal = refuse(request.raw)
    if (!refusal) return
    reply.header('connection', 'close')
    throw refusal
  })
}, { name: 'security', dependencies: ['env', 'error-handler'] })

/** All that routes are for: a browser asks before it sends what is not a plain form. */
const METHODS = ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE']

function refuse ({ url = '', rawHeaders, headers, httpVersion }: { url?: string, rawHeaders: string[], headers: { host?: string }, httpVersion: string }): ServiceError | undefined {
  if (url.length > LONGEST_URL) return new ServiceError(414, 'URI too long')
  if (rawHeaders.length / 2 > MOST_HEADERS) return new ServiceError(431, 'Request header fields too large')
  if (headers.host === undefined && httpVersion === '1.1') return new ServiceError(400, 'Bad request')
  return undefined
}
