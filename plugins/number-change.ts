import fp from 'fastify-plugin'
import { createNumberChange } from '../services/users/number-change.js'

declare module 'fastify' {
  interface FastifyInstance {
    numberChange: ReturnType<typeof createNumberChange>
  }
}

/** `app.numberChange`: moves an account to another phone number. */
export default fp(async function numberChange (app) {
  const { accounts, accountDeletion: deletion, collections: { users }, config, login, roles, now } = app
  app.decorate('numberChange', createNumberChange({
    users,
    accounts,
    login,
    deletion,
    roles,
    region: config.DEFAULT_REGION,
    now
  }))
}, { name: 'number-change', dependencies: ['env', 'clock', 'mongo', 'accounts', 'login', 'roles'] })
