import fastifyJwt from '@fastify/jwt'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { isPlaceholder } from '../services/config.js'
import type { Caller } from '../services/ports.js'
import { ISSUER } from '../services/sessions/access-token.js'
import { createLegacyTokens } from '../services/sessions/legacy-tokens.js'
import { legacyKeys, publicKeys, signingKeys } from '../services/sessions/signing-keys.js'
import { createTokens, type Codec, type Decoded, type IssuedToken } from '../services/sessions/tokens.js'

declare module '@fastify/jwt' {
  interface JWT {
    [key: `key${number}`]: JWT
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Accepts a request with a good access token of an open session. Throws 401 for every other. */
    authenticate: (request: FastifyRequest) => Promise<void>
    /** Issues an access token for a session of an account. */
    issueToken: (caller: Caller) => IssuedToken
    /** The public keys that verify this service's tokens (RFC 7517). */
    publicKeys: ReturnType<typeof publicKeys>
  }
  interface FastifyContextConfig {
    /** The route wants no access token. Every other route answers 401 without one. */
    public?: true
    /** The route shows the account itself, and so must see recent changes of other processes. */
    showsAccount?: true
  }
}

/**
 * `app.issueToken`, `app.authenticate`: the access tokens of this service's keys. Every request is authenticated,
 * unless its route is public.
 */
export default fp(async function jwt (app) {
  const { accounts, collections, config, now, roles } = app
  const keys = [...signingKeys(config), ...legacyKeys(config)]
  const codecs: Codec[] = []
  for (const key of keys) {
    const { algorithm, kid, secret } = key
    const namespace = `key${codecs.length}` as const
    await app.register(fastifyJwt, {
      namespace,
      secret,
      sign: { algorithm, iss: ISSUER, aud: ISSUER, ...(kid && { kid }) },
      verify: {
        algorithms: [algorithm],
        complete: true,
        ignoreExpiration: true,
        ignoreNotBefore: true
      }
    })
    const { sign, verify } = app.jwt[namespace]!
    codecs.push({ key, sign, verify })
  }
  const tokens = createTokens({
    codecs,
    decode: token => app.jwt.key0!.decode<Decoded>(token, { complete: true }),
    accounts,
    findLegacy: createLegacyTokens({
      users: collections.users,
      released: collections.released_numbers,
      accounts,
      isConfiguredAdmin: roles.isConfiguredAdmin,
      takeover: (await collections.migration.findOne({ _id: 'takeover' }))?.at,
      now
    }),
    lifeSeconds: config.accessTokenSeconds,
    region: config.DEFAULT_REGION,
    now
  })
  app.decorate('publicKeys', publicKeys(keys))
  app.decorate('issueToken', tokens.issue)
  app.decorate('authenticate', async request => {
    const { headers: { authorization }, requestContext } = request
    request.authenticated = await tokens.authenticate(authorization, needsFresh(request), requestContext)
  })
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.is404 || request.routeOptions.config.public) return done()
    app.authenticate(request).then(() => done(), done)
  })
  if (isPlaceholder(config.JWT_LEGACY_SECRET?.trim() ?? '')) {
    app.log.warn(
      { event: 'legacy_secret.found_weak' },
      'JWT_LEGACY_SECRET is a known default: anybody can make a token for any phone number with it'
    )
  }
}, {
  name: 'jwt',
  dependencies: [
    'env', 'clock', 'mongo', 'accounts', 'roles', 'audit', 'request-caller',
    'cors', 'request-deadline', 'graceful-shutdown', 'json', 'request-spans' // for the order: see app.ts
  ]
})

/** A read may use a session that another process ended some seconds ago. A write must not. */
const needsFresh = ({ method, routeOptions }: FastifyRequest) =>
  (method !== 'GET' && method !== 'HEAD') || routeOptions.config.showsAccount === true
