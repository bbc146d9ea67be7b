import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import fp from 'fastify-plugin'

/** The most of a request that is read after its answer, in bytes and milliseconds. Then the connection ends. */
const MAX_BYTES = 16 * 1024 * 1024
const MAX_MS = 30_000
const CHECK_MS = 50

/**
 * Drains the rest of a request that is answered early, up to a limit. A client that still writes can then read the
 * answer and reuse the connection. A connection that is to end is closed for writing first, and fully when the rest has
 * come (RFC 9112 §9.6).
 */
export default fp(async function drainRequest (app) {
  /** The request that is being read, by the connection whose end waits for it. */
  const unread = new WeakMap<Socket, IncomingMessage>()

  app.addHook('onSend', ({ raw }, _reply, payload, done) => {
    if (isUnread(raw)) {
      if (!unread.has(raw.socket)) endAfterRest(raw.socket)
      unread.set(raw.socket, raw)
    }
    done(null, payload)
  })
  app.addHook('onResponse', ({ raw }, _reply, done) => {
    if (isUnread(raw)) flowAway(raw).then(() => { if (isUnread(raw)) raw.socket.destroy() })
    done()
  })

  /** Runs once for each connection, however many requests come on it. */
  function endAfterRest (socket: Socket): void {
    const destroySoon = socket.destroySoon.bind(socket)
    socket.destroySoon = () => {
      socket.end()
      flowAway(unread.get(socket)!).then(destroySoon)
    }
  }
}, { name: 'drain-request' })

/** `complete` is undefined for a request that was injected. */
const isUnread = ({ complete }: IncomingMessage) => complete === false

/**
 * Resolves when the request has ended, was cut, or has passed a limit. Counts bytes at the socket, because Node drops
 * an unread body unseen.
 */
async function flowAway (raw: IncomingMessage): Promise<void> {
  if (!isUnread(raw) || raw.destroyed) return
  const { socket } = raw
  const start = socket.bytesRead
  const deadline = performance.now() + MAX_MS
  await new Promise<void>(resolve => {
    const watch = setInterval(
      () => { if (socket.bytesRead - start > MAX_BYTES || performance.now() > deadline) done() },
      CHECK_MS
    )
    const done = () => {
      clearInterval(watch)
      socket.off('close', done)
      resolve()
    }
    watch.unref()
    socket.once('close', done)
    raw.once('end', done).once('close', done)
    raw.unpipe().resume()
  })
}
