import fp from 'fastify-plugin'
import { newDatabaseWait, waitingWithin, type DatabaseWait } from '../services/database-wait.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Each command of such a request may take as long as all commands of another together. It has many, or much to
     * read.
     */
    isPatient?: boolean
  }
  interface FastifyRequest {
    databaseWait?: DatabaseWait
  }
}

/** Limits the total time that a request waits for the database. */
export default fp(async function databaseWait (app) {
  app.decorateRequest('databaseWait')
  app.addHook('onRequest', (request, _reply, done) => {
    request.databaseWait = newDatabaseWait(request.routeOptions.config.isPatient ?? false)
    waitingWithin(request.databaseWait, done)
  })
  // the end of a body comes in another async context
  app.addHook('preValidation', (request, _reply, done) => { waitingWithin(request.databaseWait!, done) })
  // no client waits for the commands that are left
  app.addHook('onResponse', async ({ databaseWait }) => { if (databaseWait) databaseWait.isForEach = true })
}, { name: 'database-wait', dependencies: ['cors'] })
