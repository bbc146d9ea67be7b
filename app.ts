import { randomUUID } from 'node:crypto'
import type { ServerOptions } from 'node:http'
import { fileURLToPath } from 'node:url'
import autoload from '@fastify/autoload'
import fastify, { LogController, type FastifyInstance, type FastifyLoggerOptions } from 'fastify'
import type { PinoLoggerOptions } from 'fastify/types/logger.js'
import { answerError, PROTECTION, refuseConnection } from './error-answers.js'
import { createServer } from './http-server.js'
import { createSerializerBuilder } from './response-serializers.js'
import { toFieldError, type ValidationFault } from './services/field-errors.js'
import { maskPhones } from './services/phone.js'
import type { AppSettings } from './services/ports.js'

export interface AppOptions extends AppSettings {
  /** Pino's options; default: JSON lines on stdout at LOG_LEVEL. */
  logger?: FastifyLoggerOptions & PinoLoggerOptions
}

const MAX_JSON_BYTES = 16 * 1024
const REQUEST_ID = /^[\w.:/+=-]{1,128}$/
const folder = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/*
 * The order of the onRequest hooks. A plugin names the one before it in its `dependencies`, because the order of the
 * file names would decide otherwise.
 *
 * 0. request-end: tells the log, the metrics and the spans when the request is over, also when it is refused below.
 * 1. security: gives every answer its request id and its headers, also the refusals of the hooks below.
 * 2. overload: refuses a request beyond MAX_REQUESTS before any other work.
 * 3. connections: refuses a request on a connection beyond MAX_CONNECTIONS.
 * 4. cors: lets pages read the answers below, and answers a preflight, which carries no token.
 * 5. request-deadline: begins the time that the request may wait for the database; authentication spends some of it.
 *    graceful-shutdown: refuses while the process stops. json: prepares the body. request-spans: begins the span that
 *    commands and calls belong to. None needs another of these four.
 * 6. jwt: authenticates, unless the route is public.
 * 7. The hooks of a scope of routes: an admin, a recent sign-in.
 * 8. uploads: takes a place for the caller, who is known by then. It hangs on the route, so that it comes last.
 *
 * In preParsing, error-handler comes before json and body-timeout: a path without a route is 404 whatever its body is.
 */

/**
 * Builds the service, connected to its database and its bucket, but not listening yet. Rejects with one clear sentence
 * if it cannot.
 */
export async function buildApp (options: AppOptions): Promise<FastifyInstance> {
  const { config, logger = { level: config.LOG_LEVEL } } = options
  const app = fastify({
    // the form parser's options hold the request's headers
    logger: { ...logger, serializers: { err: serializeError, busboyOptions: () => undefined } },
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: ({ headers }) => requestIdOf(headers['x-request-id']),
    serverFactory: (handle, server) => createServer(handle, server, {
      maxConnections: config.MAX_CONNECTIONS,
      stallMs: options.stallMs
    }),
    bodyLimit: MAX_JSON_BYTES,
    pluginTimeout: 0, // a new index may take long; everything else in a plugin has its own limit
    requestTimeout: config.UPLOAD_MAX_SECONDS * 1000,
    http: {
      headersTimeout: Math.min(15_000, config.UPLOAD_MAX_SECONDS * 1000),
      connectionsCheckingInterval: 5_000,
      requireHostHeader: false
    } satisfies ServerOptions,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 16 * 1024 },
    ajv: { customOptions: { allErrors: true, coerceTypes: false, removeAdditional: false, verbose: true } },
    schemaController: { compilersFactory: { buildSerializer: createSerializerBuilder() } },
    schemaErrorFormatter: faults => toFieldError(faults as ValidationFault[]),
    frameworkErrors: (error, request, reply) => {
      answerError(error, request, reply.headers({ ...PROTECTION, 'x-request-id': request.id, connection: 'close' }))
    },
    clientErrorHandler: refuseConnection
  })

  try {
    await app.register(autoload, { dir: folder('plugins'), options, forceESM: true })
    await app.register(autoload, { dir: folder('routes'), autoHooks: true, forceESM: true })
    await app.ready()
    return app
  } catch (error) {
    await app.close().catch(() => {})
    throw error
  }
}

/** The client's own id of its request, where it is short and plain, and holds no phone number; else a new one. */
function requestIdOf (own: string | string[] | undefined): string {
  return typeof own === 'string' && REQUEST_ID.test(own) && maskPhones(own) === own ? own : randomUUID()
}

/** An error and its cause for the log, without a phone number that a driver may quote. */
function serializeError ({ name, message, stack, code, cause }: Error & { code?: unknown }): {
  type: string
  message: string
  stack: string
  [key: string]: unknown
} {
  return {
    type: name,
    message: maskPhones(message),
    ...(code !== undefined && { code }),
    stack: maskPhones(stack ?? ''),
    ...(cause instanceof Error && { cause: serializeError(cause) })
  }
}
