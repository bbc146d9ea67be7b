import fp from 'fastify-plugin'
import { createBelongings } from '../services/belongings.js'
import { createMoves } from '../services/moves.js'
import { maskPhone } from '../services/phone.js'
import type { Visitor } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyInstance {
    moves: ReturnType<typeof createMoves>
  }
}

/** `app.moves`: changed phone numbers; what was interrupted is finished at the start and from time to time. */
export default fp(async function moves (app) {
  const { audit, collections, config, login, metrics, sessions, standing, now, log } = app
  const nobody: Visitor = {
    address: '',
    userAgent: '',
    log,
    record (event, phone, details = {}) {
      log.info({ event, phone: phone && maskPhone(phone), ...details })
      metrics.events.inc({ event, reason: String(details.reason ?? '') })
      audit.add({ event, phone, address: '', requestId: '', details })
    }
  }
  const moves = createMoves({ users: collections.users, sessions, belongings: createBelongings(collections), isAppointed: standing.isAppointed, notify: login.notifyOfMove, nobody, now, log })
  app.decorate('moves', moves)
  app.addHook('onClose', moves.close)
  await moves.finishAll()
  if (config.SWEEP_INTERVAL_SECONDS === 0) return
  let working = Promise.resolve()
  const timer = setInterval(() => {
    working = moves.finishAbandoned().catch((err: unknown) => log.error({ event: 'user.unmoved', err }))
  }, config.SWEEP_INTERVAL_SECONDS * 1000).unref()
  app.addHook('onClose', async () => {
    clearInterval(timer)
    await working
  })
}, { name: 'moves', dependencies: ['env', 'clock', 'mongo', 'login', 'sessions', 'standing', 'audit', 'metrics'] })
