import type { IncomingMessage } from 'node:http'
import fp from 'fastify-plugin'
import { clientAddress as readAddress, trustsOf } from '../services/client-address.js'
import { parseTrustProxy } from '../services/config.js'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * The client's address, for limits, audit and log: the peer's, or the one reported by the proxies of TRUST_PROXY.
     */
    clientAddress: string
    /** `clientAddress` once it was read. */
    knownAddress: string | undefined
  }
}

/**
 * `request.clientAddress`. Reads `X-Forwarded-For` alone, because the client may have set another header. Fastify's
 * `trustProxy` is not used, so `request.ip` is always the peer's address. It reads an element as it stands, while real
 * proxies also write ports, brackets, quotes and IPv6 zones, and it would take text that is no address for one.
 */
export default fp(async function clientAddress (app) {
  const networks = parseTrustProxy(app.config.TRUST_PROXY)
  const trusts = networks ? trustsOf(networks) : () => false
  const warned = new Set<string>()

  // Node keeps the address then, also for a connection that has ended when it is asked for
  app.server.on('connection', socket => socket.remoteAddress)

  app.decorateRequest('knownAddress', undefined)
  app.decorateRequest('clientAddress', {
    getter () {
      this.knownAddress ??= read(this.raw)
      return this.knownAddress
    }
  })

  function read ({ socket, headers }: IncomingMessage): string {
    const forwardedFor = String(headers['x-forwarded-for'] ?? '') || undefined
    if (forwardedFor !== undefined && !networks) {
      warnOnce(
        'proxy.not_trusted',
        'A request has X-Forwarded-For, but TRUST_PROXY is off: all clients behind a proxy share one limit. Set TRUST_PROXY, or let the proxy remove the header'
      )
    }
    const { address, unreadable } = readAddress(socket.remoteAddress ?? '', forwardedFor, trusts)
    if (unreadable) {
      warnOnce(
        'proxy.address_unreadable',
        'X-Forwarded-For of a trusted proxy has an element that is no address: such requests count for the proxy\'s own address'
      )
    }
    return address
  }

  function warnOnce (event: string, message: string): void {
    if (warned.has(event)) return
    warned.add(event)
    app.log.warn({ event }, message)
  }
}, { name: 'client-address', dependencies: ['env'] })
