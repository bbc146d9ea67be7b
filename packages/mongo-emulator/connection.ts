import type { Socket } from 'node:net'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import type { Request, Services } from './commands/types.js'
import { MalformedBson } from './decode.js'
import { dispatch } from './dispatch.js'
import { CommandError, codeName } from './errors.js'
import type { Failure } from './fail-points.js'
import { isDoc, isNumeric, toDoc, toNumber, type Doc } from './values.js'
import { encodeReply, MalformedMessage, parseMessage, readMessages, type Message } from './wire.js'

/**
 * Serves one client until it leaves. Its commands run one after the other. Malformed bytes or a broken connection end
 * the service of this client only.
 */
export async function serve (socket: Socket, connectionId: number, services: Services): Promise<void> {
  const closed = new AbortController()
  const client: Client = { connectionId, appName: undefined, services, signal: closed.signal }
  socket.setNoDelay(true)
  socket.on('close', () => { closed.abort() })
  socket.on('error', () => { socket.destroy() })
  try {
    for await (const bytes of readMessages(socket)) {
      const reply = await answer(bytes, client)
      if (reply === 'close') break
      if (reply !== undefined && !socket.write(reply)) await once(socket, 'drain', { signal: closed.signal })
    }
  } catch (error) {
    if (!isExpected(error, socket)) throw error
  } finally {
    socket.destroy()
  }
}

/** A request whose only answer is its error. */
type Unanswerable = Omit<Message, 'body'> & { error: Doc }

interface Client { connectionId: number, appName: string | undefined, services: Services, signal: AbortSignal }

const isExpected = (error: unknown, socket: Socket): boolean =>
  error instanceof MalformedMessage || error instanceof MalformedBson || socket.destroyed

async function answer (bytes: Buffer, client: Client): Promise<Buffer | 'close' | undefined> {
  const message = parse(bytes)
  if (!('body' in message)) return encodeReply(message, message.error)
  const request = requestOf(message, client)
  const failure = client.services.failPoints.hit(request, client.appName)
  if (failure !== undefined && failure.blockMs > 0) await block(request.body, failure, client.signal)
  if (failure?.closeConnection === true) return 'close'
  const reply = dispatch(request, client.services, failure)
  return message.expectsReply ? encodeReply(message, reply) : undefined
}

/** Delays a command as its fail point says, or until its `maxTimeMS` is over. */
async function block (command: Doc, failure: Failure, signal: AbortSignal): Promise<void> {
  const maxTime = command.get('maxTimeMS')
  const limit = isNumeric(maxTime) && toNumber(maxTime) > 0 ? toNumber(maxTime) : Infinity
  await wait(Math.min(limit, failure.blockMs), undefined, { signal, ref: false })
  if (limit < failure.blockMs) failure.error = new CommandError(50, 'operation exceeded time limit')
}

/** A well-formed message that is too deeply nested is answered with an error. */
function parse (bytes: Buffer): Message | Unanswerable {
  try {
    return parseMessage(bytes)
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    return {
      requestId: bytes.readInt32LE(4),
      legacy: false,
      expectsReply: true,
      error: toDoc({ ok: 0, errmsg: error.message, code: error.code, codeName: codeName(error.code) })
    }
  }
}

function requestOf ({ body }: Message, client: Client): Request {
  const [name = ''] = body.keys()
  const database = body.get('$db')
  client.appName ??= appNameOf(body)
  return {
    name,
    database: typeof database === 'string' ? database : '',
    body,
    connectionId: client.connectionId
  }
}

function appNameOf (command: Doc): string | undefined {
  const client = command.get('client')
  const application = isDoc(client) ? client.get('application') : undefined
  const name = isDoc(application) ? application.get('name') : undefined
  return typeof name === 'string' ? name : undefined
}
