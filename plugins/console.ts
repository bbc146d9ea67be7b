import { fileURLToPath } from 'node:url'
import fp from 'fastify-plugin'
import { hasConsole, hasDocs } from '../services/config.js'

const FILES = fileURLToPath(new URL('../console', import.meta.url))

/**
 * The console at `/` if CONSOLE is on. It is a page of static files, which calls this service as any client does.
 * Without it `/` leads to `/docs` if DOCS is on.
 */
export default fp(async function console (app) {
  const { config, mediaStore } = app
  const isOn = hasConsole(config)
  if (!isOn && !hasDocs(config)) return
  await app.register(async scope => {
    scope.addHook('onRoute', route => { route.config = { ...route.config, public: true } })
    if (!isOn) {
      scope.get('/', { schema: { hide: true } }, async (_request, reply) => reply.redirect('docs/'))
      return
    }
    const policy = pagePolicy(mediaStore.urlsOf(''))
    scope.addHook('onRequest', (_request, reply, done) => {
      reply.header('content-security-policy', policy)
      done()
    })
    // not at the top: without CONSOLE it is not loaded
    const { default: fastifyStatic } = await import('@fastify/static')
    await scope.register(fastifyStatic, {
      root: FILES,
      wildcard: false, // a route for each file: every other path stays without one
      setHeaders: reply => { reply.header('cache-control', 'no-cache') }
    })
  })
}, { name: 'console', dependencies: ['env', 's3', 'security'] })

/**
 * The page needs its own files, this service's answers, and the pictures of the bucket, and nothing else. `addresses`
 * are those of the bucket, the present one first. Their path is part of the policy: a host may have other people's
 * buckets, too.
 */
function pagePolicy (addresses: string[]): string {
  const [present, ...former] = addresses.map(address => new URL(address).href.replace(/[;,]/g, encodeURIComponent))
  return Object.entries({
    'default-src': "'none'",
    'script-src': "'self'",
    'style-src': "'self'",
    'img-src': ["'self'", present, ...former].join(' '),
    'connect-src': `'self' ${present}`,
    'base-uri': "'none'",
    'form-action': "'none'",
    'frame-ancestors': "'none'",
    'require-trusted-types-for': "'script'",
    'trusted-types': "'none'"
  }).map(([name, value]) => `${name} ${value}`).join('; ')
}
