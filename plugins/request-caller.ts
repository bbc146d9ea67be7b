import fp from 'fastify-plugin'
import type { Caller } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** The account and the session of the request's token. Null until the token is checked, and on a public route. */
    authenticated: Caller | null
    /** The same, for a route that is not public: there it is never null. Throws elsewhere. */
    readonly caller: Caller
  }
}

/** `request.caller`: the account and the session that a request acts for. */
export default fp(async function requestCaller (app) {
  app.decorateRequest('authenticated', null)
  app.decorateRequest('caller', {
    getter () {
      if (!this.authenticated) throw new Error('a public route has no caller')
      return this.authenticated
    }
  })
}, { name: 'request-caller' })
