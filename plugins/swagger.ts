import fastifySwagger from '@fastify/swagger'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import * as auth from '../schemas/auth.js'
import * as common from '../schemas/common.js'
import * as health from '../schemas/health.js'
import * as keys from '../schemas/keys.js'
import * as library from '../schemas/library.js'
import * as moderation from '../schemas/moderation.js'
import * as users from '../schemas/users.js'
import * as webhooks from '../schemas/webhooks.js'
import { hasDocs } from '../services/config.js'
import { packageVersion } from '../services/package-version.js'

const shared = [auth, common, health, keys, library, moderation, users, webhooks].flatMap(Object.values).filter(
  isShared
)

/** The page needs its own scripts, styles and pictures, this server's answers, and nothing else. */
const PAGE_POLICY = {
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self'",
  'img-src': "'self' data:",
  'connect-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'"
}

/**
 * The API's own description (OpenAPI 3.1) and its named schemas. If DOCS is on, also `/openapi.json`, `/openapi.yaml`
 * and `/docs`.
 */
export default fp(async function swagger (app) {
  for (const schema of shared) app.addSchema(schema)
  const { PUBLIC_URL } = app.config
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'hookaba-api',
        version: packageVersion,
        summary: 'Phone-number login, a user directory and a shared library of images and GIFs',
        description: 'Sign in with a code that comes by SMS. Then send the access token as a bearer token.',
        license: { name: 'MIT', identifier: 'MIT' }
      },
      servers: [{ url: PUBLIC_URL ?? '/', description: 'This server' }],
      tags: [
        { name: 'auth', description: 'Sign in' },
        { name: 'users', description: 'The user directory' },
        { name: 'library', description: 'The shared library of images and GIFs' },
        { name: 'moderation', description: 'Reports of items, and their review' },
        { name: 'webhooks', description: 'Reports of other services' },
        { name: 'health', description: 'For load balancers and orchestrators' }
      ],
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } } }
    },
    transform: ({ schema, url, route: { config } }) => ({
      schema: { ...schema, security: config?.public ? [] : [{ bearer: [] }] },
      url
    }),
    transformObject: document => {
      if (!('openapiObject' in document)) return document.swaggerObject
      markOptionalBodies(document.openapiObject as Described)
      addRequestId(document.openapiObject as Described)
      return document.openapiObject
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) => typeof json.$id === 'string' ? json.$id : `schema${index}`
    }
  })
  if (!hasDocs(app.config)) return

  const json = once(() => Buffer.from(JSON.stringify(app.swagger())))
  const yaml = once(() => Buffer.from(app.swagger({ yaml: true })))
  await app.register(async docs => {
    docs.addHook('onRoute', route => { route.config = { ...route.config, public: true } })
    docs.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) =>
      reply.type('application/json; charset=utf-8').send(json()))
    docs.get('/openapi.yaml', { schema: { hide: true } }, async (_request, reply) =>
      reply.type('application/yaml; charset=utf-8').send(yaml()))
    await docs.register(import('@fastify/swagger-ui'), { // not at the top: without DOCS it is not loaded
      routePrefix: '/docs',
      staticCSP: PAGE_POLICY,
      transformSpecificationClone: false,
      uiHooks: { onRequest: redirectToFolder }
    })
  })
}, { name: 'swagger', dependencies: ['env'] })

/** Makes the bytes once, for all clients: a slow client holds no copy. */
function once (make: () => Buffer): () => Buffer {
  let made: Buffer | undefined
  return () => (made ??= make())
}

/**
 * The page names its assets by relative addresses, so that it works behind a proxy that strips a prefix; the redirect
 * does too.
 */
function redirectToFolder ({ raw }: FastifyRequest, reply: FastifyReply, done: () => void): void {
  const path = raw.url!.split('?')[0]!
  if (path.endsWith('/docs')) reply.redirect('docs/')
  else if (path.endsWith('/static/index.html')) reply.redirect('../')
  else done()
}

function isShared (value: unknown): value is { $id: string } {
  return typeof value === 'object' && value !== null && '$id' in value
}

interface ObjectSchema { $ref?: string, properties?: object, required?: string[] }
interface Described {
  paths?: Record<string, Record<string, {
    requestBody?: { required?: boolean, content: Record<string, { schema: ObjectSchema }> }
    responses?: Record<string, { headers?: object }>
  }>>
  components?: { schemas?: Record<string, ObjectSchema> }
}

/** Marks a body whose members are all optional as optional. @fastify/swagger marks every body as required. */
function markOptionalBodies ({ paths = {}, components }: Described): void {
  for (const { requestBody } of Object.values(paths).flatMap(path => Object.values(path))) {
    const schema = requestBody?.content['application/json']?.schema
    const named = schema?.$ref ? components?.schemas?.[schema.$ref.split('/').at(-1)!] : schema
    if (requestBody && named?.properties && (named.required ?? []).length === 0) requestBody.required = false
  }
}

/**
 * Adds the id to every answer, each with its own copy: in YAML one object would become an anchor with a hundred
 * aliases.
 */
function addRequestId ({ paths = {} }: Described): void {
  const id = () => ({
    schema: { type: 'string' },
    description: 'The id of the request: its own `x-request-id` where that has 1 to 128 characters of `A-Z a-z 0-9 . _ : / + = -` and no phone number, else a new one'
  })
  for (const { responses = {} } of Object.values(paths).flatMap(path => Object.values(path))) {
    for (const response of Object.values(responses)) response.headers = { 'x-request-id': id(), ...response.headers }
  }
}
