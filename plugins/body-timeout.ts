import type { IncomingMessage } from 'node:http'
import fp from 'fastify-plugin'
import { hasBody, isForm } from '../http-server.js'
import { requestTimeout } from '../services/errors.js'
import type { AppSettings } from '../services/ports.js'

/** Milliseconds that a body may take, except an upload. */
const BODY_MS = 10_000

/** Ends a late body: its reader gets an error event (408). */
export default fp<AppSettings>(async function bodyTimeout (app, { bodyMs = BODY_MS }) {
  app.addHook('preParsing', ({ headers, raw }, _reply, _payload, done) => {
    // `complete` is undefined for an injected request
    if (raw.complete === false && hasBody(headers) && !isForm(headers)) limitTime(raw)
    done()
  })

  function limitTime (raw: IncomingMessage): void {
    const timer = setTimeout(() => { if (raw.listenerCount('error') > 0) raw.emit('error', requestTimeout()) }, bodyMs)
    raw.once('close', () => clearTimeout(timer)).once('end', () => clearTimeout(timer))
  }
}, { name: 'body-timeout', dependencies: ['json'] })
