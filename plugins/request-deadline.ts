import fp from 'fastify-plugin'
import type { AppSettings } from '../services/ports.js'
import { MAX_WAIT_MS, newRequestDeadline, runWithDeadline, type RequestDeadline } from '../services/request-deadline.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Each command of such a request may take as long as all commands of another together. It has many, or much to
     * read.
     */
    isPatient?: boolean
  }
  interface FastifyRequest {
    requestDeadline?: RequestDeadline
  }
}

/** Limits the total time that a request waits for the database. */
export default fp<AppSettings>(async function requestDeadline (app, { maxDatabaseWaitMs = MAX_WAIT_MS }) {
  app.decorateRequest('requestDeadline')
  app.addHook('onRequest', (request, _reply, done) => {
    request.requestDeadline = newRequestDeadline(request.routeOptions.config.isPatient ?? false, maxDatabaseWaitMs)
    runWithDeadline(request.requestDeadline, done)
  })
  // the end of a body comes in another async context
  app.addHook('preValidation', (request, _reply, done) => { runWithDeadline(request.requestDeadline!, done) })
  // no client waits for the commands that are left
  app.addHook('onResponse', ({ requestDeadline }, _reply, done) => {
    if (requestDeadline) requestDeadline.isPerCommand = true
    done()
  })
}, { name: 'request-deadline' })
