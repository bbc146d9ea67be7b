import type { IncomingMessage } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import fp from 'fastify-plugin'

/** As much of an answered request is still read and thrown away; beyond it the connection ends. */
const MOST_BYTES = 16 * 1024 * 1024
/** How long an answer waits for the rest of its request where the connection ends with it. */
const LINGER_MS = 1000

/**
 * Lets the rest of a request that is answered early flow away, up to a bound, so that a client that still writes gets to read the answer
 * (RFC 9112 §9.6) and can use the connection again.
 */
export default fp(async function leftovers (app) {
  app.addHook('onSend', async ({ raw }, reply) => {
    if (!raw.complete && endsConnection(reply)) await Promise.race([flowAway(raw), wait(LINGER_MS, undefined, { ref: false })])
  })
  app.addHook('onResponse', async ({ raw }) => {
    if (!raw.complete) flowAway(raw)
  })
}, { name: 'leftovers' })

const flowing = new WeakMap<IncomingMessage, Promise<void>>()

/** Resolves when the request has ended or was cut. */
function flowAway (raw: IncomingMessage): Promise<void> {
  const under = flowing.get(raw) ?? new Promise<void>(resolve => {
    let passed = 0
    raw.once('end', resolve).once('close', resolve)
    raw.unpipe().on('data', (chunk: Buffer) => {
      passed += chunk.length
      if (passed > MOST_BYTES) raw.socket.destroy()
    })
    raw.resume()
  })
  flowing.set(raw, under)
  return under
}

function endsConnection ({ raw }: FastifyReply): boolean {
  return !raw.shouldKeepAlive || raw.getHeader('connection') === 'close'
}
