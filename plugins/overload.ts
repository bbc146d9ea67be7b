import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { serverBusy } from '../services/errors.js'

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
  const waiting: Array<() => void> = []
  const refusals = paceRefusals(count => app.log.warn({ event: 'overload.requests_refused', count },
    'More requests at once than MAX_REQUESTS, or connections than MAX_CONNECTIONS: some were answered 503'))
  app.decorate('refuseBusy', refusals.add)
  app.decorateRequest('isCounted', false)
  app.addHook('onRequest', enter)
  app.addHook('preParsing', (request, _reply, _payload, done) => {
    if (!request.raw.complete) leave(request)
    done()
  })
  app.addHook('preValidation', enter)
  app.addHook('onSend', (request, _reply, payload, done) => {
    leave(request)
    done(null, payload)
  })
  app.addHook('preClose', async () => refusals.end())

  function enter (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
    if (request.isCounted || request.routeOptions.config.isProbe) return done()
    if (inProgress >= MAX_REQUESTS) return refusals.add(reply)
    request.isCounted = true
    inProgress++
    if (inProgress <= MAX_EAGER) done()
    else if (waiting.push(done) === 1) setImmediate(beginSome)
  }

  function beginSome (): void {
    for (const begin of waiting.splice(0, MAX_BEGUN)) begin()
    if (waiting.length > 0) setImmediate(beginSome)
  }

  function leave (request: FastifyRequest): void {
    if (!request.isCounted) return
    request.isCounted = false
    inProgress--
  }
}, { name: 'overload', dependencies: ['env', 'security'] })

/**
 * Answers MAX_REFUSALS replies in each tick, in the order in which they came. Each connection has one request at a
 * time, so at most as many wait as there are connections. `onRefused` is called with their number about once a second.
 */
function paceRefusals (onRefused: (count: number) => void) {
  const waiting: FastifyReply[] = []
  let left = MAX_REFUSALS
  let ticks = 0
  let count = 0
  let timer: NodeJS.Timeout | undefined
  return { add, end }

  function add (reply: FastifyReply): void {
    timer ??= setInterval(tick, TICK_MS)
    if (left > 0) send(reply)
    else waiting.push(reply)
  }

  function tick (): void {
    left = MAX_REFUSALS
    for (const reply of waiting.splice(0, left)) send(reply)
    if (++ticks % TICKS_BETWEEN_LOGS !== 0) return
    if (count === 0) stop()
    else onRefused(count)
    count = 0
  }

  function send (reply: FastifyReply): void {
    left--
    count++
    // not thrown: the error handler would log each one
    reply.code(BUSY.statusCode).header('retry-after', BUSY.retryAfter).type('application/json; charset=utf-8').send(BODY)
  }

  function stop (): void {
    clearInterval(timer)
    timer = undefined
  }

  function end (): void {
    for (const reply of waiting.splice(0)) send(reply)
    if (count > 0) onRefused(count)
    stop()
  }
}
