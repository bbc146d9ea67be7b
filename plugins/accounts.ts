import fp from 'fastify-plugin'
import { createAccounts, type Accounts } from '../services/accounts.js'
import type { Ownership } from '../services/ports.js'
import { createAccountDeletion, type AccountDeletion } from '../services/users/deletion.js'
import { createOwnership } from '../services/users/ownership.js'

declare module 'fastify' {
  interface FastifyInstance {
    accounts: Accounts
    ownership: Ownership
    accountDeletion: AccountDeletion
  }
}

/**
 * `app.accounts`: account rows and their sessions. `app.ownership`: the items of accounts. `app.accountDeletion`: the
 * deletion of accounts.
 */
export default fp(async function accounts (app) {
  const { collections, config, roles, now, log } = app
  const { users, released_numbers: released } = collections
  const accounts = createAccounts({ users, idleSeconds: config.sessionIdleSeconds, now, log })
  const ownership = createOwnership(collections)
  app.decorate('accounts', accounts)
  app.decorate('ownership', ownership)
  app.decorate('accountDeletion', createAccountDeletion({
    users,
    released,
    accounts,
    ownership,
    isConfiguredAdmin: roles.isConfiguredAdmin,
    longestSeconds: config.UPLOAD_MAX_SECONDS,
    now,
    log
  }))
}, { name: 'accounts', dependencies: ['env', 'clock', 'mongo', 'roles'] })
