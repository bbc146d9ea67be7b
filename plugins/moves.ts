import fp from 'fastify-plugin'
import { createBelongings } from '../services/belongings.js'
import { createMoves } from '../services/moves.js'

declare module 'fastify' {
  interface FastifyInstance {
    moves: ReturnType<typeof createMoves>
  }
}

/** `app.moves`: changed phone numbers; what was interrupted is finished at the start and from time to time. */
export default fp(async function moves (app) {
  const { collections, config, sessions, now, log } = app
  const moves = createMoves({ users: collections.users, sessions, belongings: createBelongings(collections), now, log })
  app.decorate('moves', moves)
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
}, { name: 'moves', dependencies: ['env', 'clock', 'mongo', 'sessions'] })
