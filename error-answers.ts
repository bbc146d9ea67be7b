import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import helmet, { type HelmetOptions } from 'helmet'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { answerUnderWay } from './http-server.js'
import {
  FieldError,
  isOverTimeLimit,
  isShortage,
  outOfResources,
  serverBusy,
  ServiceError
} from './services/errors.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The sentence for a path parameter that is malformed. */
    invalidParams?: string
    /** The contract's sentence for a dependency that failed, and whether it shows `details` beside it. */
    failure?: { sentence: string, detailed: boolean }
  }
}

/** Headers of every answer. Those of helmet never differ here, so it makes them once. */
export const PROTECTION = {
  'cache-control': 'no-store',
  ...helmetHeaders({
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    strictTransportSecurity: { maxAge: 31_536_000, includeSubDomains: true },
    crossOriginResourcePolicy: { policy: 'cross-origin' },
    xFrameOptions: { action: 'deny' }
  })
}

const JSON_TYPE = 'application/json; charset=utf-8'

/** Statuses for errors of Node's HTTP parser, by their code. */
const STATUS: Record<string, number> = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }

/**
 * Answers `error`, also one that Fastify throws before a route is found. Sends text, because the answer's schema may
 * lack the status and must not fail an error.
 */
export function answerError (
  thrown: FastifyError | ServiceError,
  request: FastifyRequest,
  reply: FastifyReply
): FastifyReply {
  const error = passing(thrown)
  const statusCode = error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 600
    ? error.statusCode
    : 500
  if (statusCode === 503) request.log.warn({ err: error }, 'request refused')
  else if (statusCode >= 500) request.log.error({ err: error }, 'request failed')
  if (error instanceof ServiceError) headers(error, reply)
  if (statusCode === 408) reply.header('connection', 'close')
  return reply.code(statusCode).type(JSON_TYPE).send(JSON.stringify(body(error, statusCode, request)))
}

function helmetHeaders (options: HelmetOptions): Record<string, string> {
  const headers: Record<string, string> = {}
  const response = {
    setHeader: (name: string, value: string) => { headers[name.toLowerCase()] = value },
    removeHeader: () => {}
  }
  helmet(options)({} as IncomingMessage, response as unknown as ServerResponse, () => {})
  return headers
}

/** Replaces a temporary failure by 503. */
function passing (error: FastifyError | ServiceError): FastifyError | ServiceError {
  if (isOverTimeLimit(error)) return serverBusy(error)
  return isFailure(error) && isShortage(error) ? outOfResources(error) : error
}

const isFailure = ({ statusCode }: FastifyError | ServiceError) => statusCode === undefined || statusCode === 500

function headers ({ statusCode, retryAfter, cause }: ServiceError, reply: FastifyReply): void {
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
  if (statusCode === 401) {
    reply.header('www-authenticate', cause === undefined ? 'Bearer' : 'Bearer error="invalid_token"')
  }
}

function body (error: FastifyError | ServiceError, statusCode: number, request: FastifyRequest): object {
  const details = `The request could not be completed. Quote request id ${request.id} when you ask about it.`
  if ('validationContext' in error && error.validationContext === 'params') {
    return { error: request.routeOptions.config.invalidParams ?? 'Not found' }
  }
  if (error instanceof FieldError) return { errors: error.errors }
  if (error instanceof ServiceError) {
    return error.detailed ? { error: error.message, details } : { error: error.message }
  }
  const { sentence, detailed } =
    request.routeOptions.config.failure ?? { sentence: 'Internal server error', detailed: true }
  if (statusCode >= 500) return { error: sentence, ...(detailed && { details }) }
  if (statusCode === 413) return { error: `Request body is larger than ${request.routeOptions.bodyLimit} bytes` }
  if (statusCode === 415) return { error: 'Unsupported media type' }
  if (error.code?.startsWith('FST_ERR_CTP_')) return { errors: { _schema: ['Invalid input.'] } }
  return { error: reason(statusCode) }
}

/** The status in words, as a sentence. */
const reason = (status: number) => (STATUS_CODES[status] ?? 'Bad Request').replace(/ [A-Z](?=[a-z])/g, letter =>
  letter.toLowerCase())

/**
 * Answers input that never became a request (RFC 9112 §2.2: 400; RFC 6585 §5: 431; RFC 9110 §15.5.9: 408) and ends the
 * connection. Complete requests before it on the same connection are answered first.
 */
export function refuseConnection (error: Error & { code?: string }, socket: Socket): void {
  const answer = answerUnderWay(socket)
  if (answer) {
    answer.once('close', () => refuseConnection(error, socket))
    return
  }
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const status = STATUS[error.code ?? ''] ?? 400
  const body = JSON.stringify({ error: reason(status) })
  socket.end([
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `Content-Type: ${JSON_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...Object.entries(PROTECTION).map(([name, value]) => `${name}: ${value}`),
    'Connection: close',
    '',
    body
  ].join('\r\n'), () => socket.destroy())
}
