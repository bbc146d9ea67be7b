import type { IncomingMessage } from 'node:http'
import fp from 'fastify-plugin'

/** As much of a request is still read after its answer; beyond it the connection ends. */
const MOST_BYTES = 16 * 1024 * 1024
const CHECK_MS = 50

/**
 * Lets the rest of a request that is answered early flow away, up to a bound, so that a client that still writes gets to read the answer and can use
 * the connection again. A connection that is to end is closed for writing first, and altogether when the rest has come (RFC 9112 §9.6).
 */
export default fp(async function leftovers (app) {
  app.addHook('onSend', async ({ raw }) => {
    if (raw.complete !== false) return // undefined for a request that was injected
    const { socket } = raw
    const destroySoon = socket.destroySoon.bind(socket)
    socket.destroySoon = () => {
      socket.end()
      flowAway(raw).then(destroySoon)
    }
  })
  app.addHook('onResponse', async ({ raw }) => {
    flowAway(raw).then(() => { if (raw.complete === false) raw.socket.destroy() })
  })
}, { name: 'leftovers' })

/** Resolves when the request has ended, was cut, or has passed the bound. It is the socket that counts: Node throws a body that nobody reads away unseen. */
async function flowAway (raw: IncomingMessage): Promise<void> {
  if (raw.complete !== false || raw.destroyed) return
  const { socket } = raw
  const start = socket.bytesRead
  await new Promise<void>(resolve => {
    const watch = setInterval(() => { if (socket.bytesRead - start > MOST_BYTES) done() }, CHECK_MS)
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
