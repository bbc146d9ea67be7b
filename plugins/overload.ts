import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { hasBody, isSurplus } from '../http-server.js'
import { serverBusy, ServiceError } from '../services/errors.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered under any load, because load balancers and orchestrators rely on it. */
    isProbe?: boolean
  }
  interface FastifyInstance {
    /** Answers 503, at once or after those that wait already. */
    refuseBusy: (reply: FastifyReply) => void
  }
  interface FastifyRequest {
    /** Whether it counts towards MAX_REQUESTS now. */
    isCounted: boolean
  }
}

/**
 * Node accepts one connection in each turn of the event loop. When many requests are in progress, turns would be long,
 * and new clients, probes among them, would wait for minutes. So beyond MAX_EAGER requests, MAX_BEGUN begin in a turn.
 */
const MAX_EAGER = 128
const MAX_BEGUN = 4
/** Refusals of one tick. With more, clients that ask again at once would use up the CPU. Further ones wait. */
const MAX_REFUSALS = 25
const TICK_MS = 50
const TICKS_BETWEEN_LOGS = 20
const BUSY = serverBusy()
const BODY = JSON.stringify({ error: BUSY.message })

/**
 * At most MAX_REQUESTS requests are in progress. Further ones get 503, except probes. A request that waits for its
 * body, or whose answer waits for its client, is not in progress.
 */
export default fp(async function overload (app) {
  const { MAX_REQUESTS } = app.config
  let inProgress = 0
  const waiting: Array<{ reply: FastifyReply, begin: () => void }> = []
  const refusals = paceRefusals(count => app.log.warn({ event: 'overload.requests_refused', count },
    'More requests at once than MAX_REQUESTS, or connections than MAX_CONNECTIONS: some were answered 503'))
  app.decorate('refuseBusy', refusals.add)
  app.decorateRequest('isCounted', false)
  app.addHook('onRequest', enter)
  app.addHook('preParsing', (request, _reply, _payload, done) => {
    // nothing comes of such a body, not even its end, so that the request would never be over
    if (request.raw.destroyed && hasBody(request.headers)) return done(new ServiceError(400, 'Client has left'))
    if (!request.raw.complete) leave(request)
    done()
  })
  app.addHook('preValidation', enter)
  app.addHook('onSend', (request, _reply, payload, done) => {
    leave(request)
    done(null, payload)
  })
  app.addHook('preClose', async () => {
    for (const { begin } of waiting.splice(0)) begin()
    refusals.end()
  })

  function enter (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
    if (request.isCounted || request.routeOptions.config.isProbe || isSurplus(request.raw.socket)) return done()
    if (inProgress >= MAX_REQUESTS) return refusals.add(reply)
    request.isCounted = true
    inProgress++
    if (inProgress <= MAX_EAGER) done()
    else if (waiting.push({ reply, begin: done }) === 1) setImmediate(beginSome)
  }

  function beginSome (): void {
    for (const { reply, begin } of waiting.splice(0, MAX_BEGUN)) {
      if (reply.raw.destroyed) refusals.add(reply) // its client has left
      else begin()
    }
    if (waiting.length > 0) setImmediate(beginSome)
  }

  function leave (request: FastifyRequest): void {
    if (!request.isCounted) return
    request.isCounted = false
    inProgress--
  }
}, { name: 'overload', dependencies: ['env', 'security'] })

/**
 * Answers MAX_REFUSALS replies in each tick, in the order in which they came. One whose client leaves does not wait. So
 * at most as many wait as there are connections. `onRefused` is called with their number about once a second.
 */
function paceRefusals (onRefused: (count: number) => void) {
  const waiting = new Set<FastifyReply>()
  let left = MAX_REFUSALS
  let ticks = 0
  let count = 0
  let timer: NodeJS.Timeout | undefined
  let hasEnded = false
  return { add, end }

  function add (reply: FastifyReply): void {
    if (hasEnded || reply.raw.destroyed) {
      send(reply)
      return
    }
    timer ??= setInterval(tick, TICK_MS)
    if (left > 0) return refuse(reply)
    waiting.add(reply)
    reply.raw.once('close', () => { if (waiting.delete(reply)) send(reply) })
  }

  function tick (): void {
    left = MAX_REFUSALS
    for (const reply of waiting) {
      if (left === 0) break
      waiting.delete(reply)
      refuse(reply)
    }
    if (++ticks % TICKS_BETWEEN_LOGS !== 0) return
    if (count === 0) stop()
    else onRefused(count)
    count = 0
  }

  function refuse (reply: FastifyReply): void {
    left--
    count++
    send(reply)
  }

  function stop (): void {
    clearInterval(timer)
    timer = undefined
  }

  function end (): void {
    hasEnded = true
    for (const reply of waiting) {
      waiting.delete(reply)
      refuse(reply)
    }
    if (count > 0) onRefused(count)
    stop()
  }
}

/** Not thrown: the error handler would log each one. */
const send = (reply: FastifyReply) => reply
  .code(BUSY.statusCode)
  .header('retry-after', BUSY.retryAfter)
  .type('application/json; charset=utf-8')
  .send(BODY)
