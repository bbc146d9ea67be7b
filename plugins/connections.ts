import fp from 'fastify-plugin'
import { isSurplus } from '../http-server.js'
import { serverBusy } from '../services/errors.js'

/** A connection beyond MAX_CONNECTIONS gets one answer: 503, or the real one for a probe. */
export default fp(async function connections (app) {
  app.addHook('onRequest', async ({ raw, routeOptions }, reply) => {
    if (!isSurplus(raw.socket)) return
    reply.header('connection', 'close')
    if (!routeOptions.config.isProbe) throw serverBusy()
  })
}, { name: 'connections', dependencies: ['overload'] })
