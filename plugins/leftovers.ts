import type { IncomingMessage } from 'node:http'
import fp from 'fastify-plugin'

/** As much of a request is still read after its answer; beyond it the connection ends. */
const MOST_BYTES = 16 * 1024 * 1024

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

/** Resolves when the request has ended, was cut, or has passed the bound. */
async function flowAway (raw: IncomingMessage): Promise<void> {
  if (raw.complete !== false || raw.destroyed) return
  await new Promise<void>(resolve => {
    let passed = 0
    raw.once('end', resolve).once('close', resolve)
    raw.unpipe().on('data', (chunk: Buffer) => {
      passed += chunk.length
      if (passed > MOST_BYTES) resolve()
    })
    raw.resume()
  })
}
