import fp from 'fastify-plugin'
import type { Caller, RequestContext } from '../services/ports.js'
import { createExports } from '../services/users/export-stream.js'
import { createAccountExport } from '../services/users/export.js'

type Exports = ReturnType<typeof createExports>

declare module 'fastify' {
  interface FastifyInstance {
    /** Streams everything that is stored about the caller. 429 while another export runs. */
    exportAccount: (caller: Caller, requestContext: RequestContext) => ReturnType<Exports>
  }
}

/** `app.exportAccount`: the personal data of an account. */
export default fp(async function accountExport (app) {
  const { audit, blocks, collections, library: { toItem }, login, sessions, now } = app
  const { exportOf } = createAccountExport({
    ...collections,
    findLoginState: login.findState,
    listBlocks: blocks.list,
    sessions,
    audit,
    toItem,
    now
  })
  const inTurn = createExports()
  app.decorate('exportAccount', (caller, requestContext) => inTurn(() => exportOf(caller, requestContext)))
}, { name: 'account-export', dependencies: ['clock', 'mongo', 'audit', 'blocks', 'library', 'login', 'sessions'] })
