import type { IncomingMessage } from 'node:http'
import { isIPv6 } from 'node:net'
import fp from 'fastify-plugin'
import { PROTECTION } from '../error-answers.js'
import { ServiceError } from '../services/errors.js'

const MAX_URL_LENGTH = 8192
const MAX_HEADERS = 200

/** Sets the headers of every answer and the limits of every request. */
export default fp(async function security (app) {
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(PROTECTION).header('x-request-id', request.id)
    done()
  })
  app.server.on('checkExpectation', (request, response) => {
    delete request.headers.expect // RFC 9110 §10.1.1: an unknown expectation may be ignored
    app.server.emit('request', request, response)
  })
  app.addHook('onRequest', (request, reply, done) => {
    const refusal = refuse(request.raw)
    if (refusal) reply.header('connection', 'close')
    done(refusal)
  })
}, { name: 'security', dependencies: ['error-handler', 'request-end'] })

function refuse ({ method, url = '', rawHeaders, httpVersion }: IncomingMessage): ServiceError | undefined {
  if (url.length > MAX_URL_LENGTH) return new ServiceError(414, 'URI too long')
  if (rawHeaders.length / 2 > MAX_HEADERS) return new ServiceError(431, 'Request header fields too large')
  // RFC 9112 §3.2.4; the router would read it as the path /
  if (url.startsWith('*') && method !== 'OPTIONS') return new ServiceError(400, 'Bad request')
  const hosts = rawHeaders.filter((_, i) => i % 2 === 1 && /^host$/i.test(rawHeaders[i - 1]!))
  if (hosts.length > 1 || (hosts.length === 0 && httpVersion === '1.1') || !hosts.every(isHost)) {
    return new ServiceError(400, 'Bad request')
  }
  return undefined
}

/** A name, an IPv4 or a bracketed IPv6 address, and perhaps a port (RFC 9110 §7.2, RFC 3986 §3.2.2). */
function isHost (text: string): boolean {
  const [, name, address, port = ''] =
    /^(?:((?:[\w\-.~!$&'()*+,;=]|%[0-9a-f]{2})+)|\[([^\]]+)\])(?::(\d{0,5}))?$/i.exec(text) ?? []
  return (name !== undefined || isIPv6(address ?? '')) && Number(port) <= 65_535
}
