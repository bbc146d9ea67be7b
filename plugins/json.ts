import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import fp from 'fastify-plugin'
import { invalidBody, requestTimeout, unsupportedMediaType } from '../services/errors.js'
import type { AppSettings } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A missing body counts as an empty object. Set on every route whose body has no required member. */
    optionalBody?: boolean
  }
}

/** Milliseconds that a body may take, except an upload. */
const BODY_MS = 10_000
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * JSON bodies (RFC 8259): UTF-8 without a byte order mark. Members that name a prototype are dropped, like every
 * unknown member. Refuses other content types, and content encodings.
 */
export default fp<AppSettings>(async function json (app, { bodyMs = BODY_MS }) {
  const parse = app.getDefaultJsonParser('remove', 'remove')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    if (!isUtf8(request.headers['content-type'] ?? '')) return done(unsupportedMediaType())
    if (body.length === 0) return request.routeOptions.config.optionalBody ? done(null, {}) : done(invalidBody())
    const text = decode(body)
    if (text === undefined || text.startsWith('\uFEFF')) return done(invalidBody())
    parse(request, text, (error, value) => done(error && invalidBody(), value))
  })
  app.addHook('onRoute', route => {
    if (needsNoMember(route.schema?.body)) route.config = { optionalBody: true, ...route.config }
  })
  app.addHook('onRequest', async ({ raw: { headers } }) => {
    if (!hasBody(headers) && !isForm(headers)) delete headers['content-type'] // there is no body that has it
  })
  app.addHook('preParsing', async ({ headers, raw }) => {
    if (!hasBody(headers)) return
    if (!/^(identity)?$/i.test(headers['content-encoding'] ?? '')) throw unsupportedMediaType()
    if (raw.complete === false && !isForm(headers)) limitBodyTime(raw)
  })
  app.addHook('preValidation', async request => {
    if (request.body === undefined && request.routeOptions.config.optionalBody) request.body = {}
  })

  /** Ends a late body: its reader gets an error event (408). */
  function limitBodyTime (raw: IncomingMessage): void {
    const timer = setTimeout(() => { if (raw.listenerCount('error') > 0) raw.emit('error', requestTimeout()) }, bodyMs)
    raw.once('close', () => clearTimeout(timer)).once('end', () => clearTimeout(timer))
  }

  function needsNoMember (body: unknown): boolean {
    const { $ref, required = [] } = (body ?? {}) as { $ref?: string, required?: string[] }
    return $ref === undefined ? required.length === 0 : needsNoMember(app.getSchema($ref.replace(/#$/, '')))
  }
}, { name: 'json', dependencies: ['error-handler', 'cors'] })

/** RFC 9112 §6.3: a request without either has no body. */
const hasBody = (headers: IncomingHttpHeaders) => headers['transfer-encoding'] !== undefined ||
  (headers['content-length'] ?? '0') !== '0'
const isForm = (headers: IncomingHttpHeaders) => /^multipart\//i.test(headers['content-type'] ?? '')
const isUtf8 = (contentType: string) => /^"?utf-?8"?$/i.test(
  /;\s*charset\s*=\s*([^;\s]*)/i.exec(contentType)?.[1] ?? 'utf-8'
)

function decode (body: Buffer): string | undefined {
  try {
    return utf8.decode(body)
  } catch {
    return undefined
  }
}
