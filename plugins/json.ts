import fp from 'fastify-plugin'
import { hasBody, isForm } from '../http-server.js'
import { invalidBody, unsupportedMediaType } from '../services/errors.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A missing body counts as an empty object. Set on every route whose body has no required member. */
    optionalBody?: boolean
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * JSON bodies (RFC 8259): UTF-8 without a byte order mark. Members that name a prototype are dropped, like every
 * unknown member. Refuses other content types, and content encodings.
 */
export default fp(async function json (app) {
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
  app.addHook('onRequest', ({ raw: { headers } }, _reply, done) => {
    // there is no body that has it
    if (headers['content-type'] !== undefined && !hasBody(headers) && !isForm(headers)) delete headers['content-type']
    done()
  })
  app.addHook('preParsing', ({ headers }, _reply, _payload, done) => {
    const { 'content-encoding': encoding = '' } = headers
    done(hasBody(headers) && !/^(identity)?$/i.test(encoding) ? unsupportedMediaType() : undefined)
  })
  app.addHook('preValidation', (request, _reply, done) => {
    if (request.body === undefined && request.routeOptions.config.optionalBody) request.body = {}
    done()
  })

  function needsNoMember (body: unknown): boolean {
    const { $ref, required = [] } = (body ?? {}) as { $ref?: string, required?: string[] }
    return $ref === undefined ? required.length === 0 : needsNoMember(app.getSchema($ref.replace(/#$/, '')))
  }
}, { name: 'json', dependencies: ['error-handler', 'cors'] })

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
