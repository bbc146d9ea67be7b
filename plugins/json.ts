import fp from 'fastify-plugin'
import { invalidBody, ServiceError } from '../services/errors.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** No body at all is an empty object. */
    optionalBody?: boolean
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** JSON bodies (RFC 8259): UTF-8 without a byte order mark; members that name a prototype are left out, as every member that nobody knows. And no other content type. */
export default fp(async function json (app) {
  const parse = app.getDefaultJsonParser('remove', 'remove')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    if (!isUtf8(request.headers['content-type'] ?? '')) return done(new ServiceError(415, 'Unsupported media type'))
    if (body.length === 0 && request.routeOptions.config.optionalBody) return done(null, {})
    const text = decode(body)
    if (text === undefined || text.startsWith('\uFEFF')) return done(invalidBody())
    parse(request, text, (error, value) => done(error && invalidBody(), value))
  })
  app.addHook('preValidation', async request => {
    if (request.body === undefined && request.routeOptions.config.optionalBody) request.body = {}
  })
}, { name: 'json' })

const isUtf8 = (contentType: string) => /^"?utf-?8"?$/i.test(/;\s*charset\s*=\s*([^;\s]*)/i.exec(contentType)?.[1] ?? 'utf-8')

function decode (body: Buffer): string | undefined {
  try {
    return utf8.decode(body)
  } catch {
    return undefined
  }
}
