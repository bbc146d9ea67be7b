import fp from 'fastify-plugin'
import { symbols, type Logger } from 'pino'
import { maskAddress } from '../services/client-network.js'
import { routeName } from '../services/route-name.js'

const BINDINGS: typeof symbols.chindingsSym = symbols.chindingsSym
const STREAM: typeof symbols.streamSym = symbols.streamSym
const INFO = 30

/** What pino's types leave out. */
interface PinoInternals {
  /** The members of all lines of this logger, as JSON with a comma before. */
  [BINDINGS]: string
  [STREAM]: { write: (line: string) => void }
}

/**
 * Logs one line for each request, with its route: a typed path or query may hold a phone number or a token. pino would
 * make the same line, but at twice the cost (bench/README.md). The client's request id is in the bindings, where pino
 * has escaped it; no other member holds text of the client. pino's options that change lines do not apply here.
 */
export default fp(async function requestLog (app) {
  const log = app.log as unknown as Logger & PinoInternals
  if (!log.isLevelEnabled('info')) return
  const { [STREAM]: stream } = log
  app.onRequestEnd((request, reply, isAborted) => {
    const { method, clientAddress, routeOptions, authenticated } = request
    const { [BINDINGS]: bindings } = request.log as unknown as PinoInternals
    const event = isAborted ? 'request.aborted' : 'request.finished'
    const account = authenticated ? `,"account":"${authenticated.account._id.toHexString()}"` : ''
    const bytes = Number(reply.getHeader('content-length') ?? 0)
    const answer = isAborted ? '' : `,"status":${reply.statusCode},"bytes":${bytes}`
    stream.write(`{"level":${INFO},"time":${Date.now()}${bindings},"event":"${event}","method":"${method}","route":"${
      routeName(routeOptions.url)}","network":"${maskAddress(clientAddress)}"${account},"ms":${
      Math.round(reply.elapsedTime)}${answer}}\n`)
  })
}, { name: 'request-log', dependencies: ['client-address', 'request-caller', 'request-end'] })
