import fp from 'fastify-plugin'
import { newDatabaseWait, waitingWithin, type DatabaseWait } from '../services/database-wait.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Each command of such a request may take as long as all commands of another: it has many to give, or much to read.
     */
    isPatient?: boolean
  }
  interface FastifyRequest {
    databaseWait?: DatabaseWait
  }
}

/** A request waits for the database in a limited time, whatever it asks of it. */
export default fp(async function databaseWait (app) {
  app.decorateRequest('databaseWait')
  app.addHook('onRequest', (request, _reply, done) => {
    request.databaseWait = newDatabaseWait(request.routeOptions.config.isPatient ?? false)
    waitingWithin(request.databaseWait, done)
  })
  // the end of a body comes out of another context
  app.addHook('preValidation', (request, _reply, done) => { waitingWithin(request.databaseWait!, done) })
  // nobody waits for what it has left to do
  app.addHook('onResponse', async ({ databaseWait }) => { if (databaseWait) databaseWait.isForEach = true })
}, { name: 'database-wait' })
