import fp from 'fastify-plugin'
import { isSurplus } from '../http-server.js'

/** A connection beyond MAX_CONNECTIONS gets one answer: 503, or the real one for a probe. */
export default fp(async function connections (app) {
  app.addHook('onRequest', ({ raw, routeOptions }, reply, done) => {
    if (!isSurplus(raw.socket)) return done()
    reply.header('connection', 'close')
    if (routeOptions.config.isProbe) done()
    else app.refuseBusy(reply)
  })
}, { name: 'connections', dependencies: ['overload'] })
