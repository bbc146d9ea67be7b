import fp from 'fastify-plugin'
import { createBlocks } from '../services/users/blocks.js'

declare module 'fastify' {
  interface FastifyInstance {
    blocks: ReturnType<typeof createBlocks>
  }
}

/** `app.blocks`: the accounts that an account has blocked. */
export default fp(async function blocks (app) {
  const { accounts, collections: { users }, now } = app
  app.decorate('blocks', createBlocks({ users, accounts, now }))
}, { name: 'blocks', dependencies: ['clock', 'mongo', 'accounts'] })
