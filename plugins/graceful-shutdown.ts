import type { Socket } from 'node:net'
import fp from 'fastify-plugin'
import { ServiceError } from '../services/errors.js'

const IDLE_CHECK_MS = 100
/** Milliseconds until requests in progress are cut off. Their clean-up must finish before the process has to end. */
const GRACE_MS = 7000

declare module 'fastify' {
  interface FastifyInstance {
    /** From now on the process is not ready, and a connection ends with its next answer: its client finds another. */
    drain: () => void
  }
}

/**
 * During a graceful shutdown, requests in progress have limited time to finish, new ones on open connections get 503,
 * and a connection ends with its last answer.
 */
export default fp(async function gracefulShutdown (app) {
  const sockets = new Set<Socket>()
  let stopping = false
  let draining = false
  app.decorate('drain', () => {
    draining = true
    app.health.drain()
  })
  app.server.on('connection', socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  app.addHook('preClose', async () => {
    stopping = true
    if (!app.server.listening) return
    app.log.info(
      { event: 'server.stop_begun', requests: app.requestsInProgress(), connections: sockets.size },
      'The port closes; requests in progress are finished'
    )
    const idle = setInterval(closeIdle, IDLE_CHECK_MS)
    const patience = setTimeout(cutOff, GRACE_MS)
    app.server.once('close', () => {
      clearInterval(idle)
      clearTimeout(patience)
    })
  })
  app.addHook('onRequest', (_request, _reply, done) => {
    done(stopping ? new ServiceError(503, 'Server is stopping', { retryAfter: 5 }) : undefined)
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (draining || stopping) reply.header('connection', 'close')
    done(null, payload)
  })

  /** Node does not count a connection as idle before its first request. Browsers open such connections in advance. */
  function closeIdle (): void {
    app.server.closeIdleConnections()
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy()
  }

  function cutOff (): void {
    for (const socket of sockets) socket.destroy()
  }
}, { name: 'graceful-shutdown', dependencies: ['cors', 'health', 'request-end'] })
