import http, { type IncomingHttpHeaders, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyHttpOptions } from 'fastify'

/** The most pipelined requests that wait on one connection, and on all of them together. */
const MAX_PIPELINED = 256
const MAX_PIPELINED_TOTAL = 2000
/** A connection ends when its client has read nothing of an answer for this long. */
const STALL_MS = 30_000
/** The most bytes of answers that clients have not read, of all connections together. Checked once in each interval. */
const MAX_HELD_BYTES = 64 * 1024 * 1024
const HELD_CHECK_MS = 1000
/** Connections beyond MAX_CONNECTIONS that wait for their one answer. */
const MAX_SURPLUS = 100

interface Connection {
  socket: Socket
  /** The request in progress, and its answer. */
  answering?: { request: IncomingMessage, response: ServerResponse }
  waiting: Array<[IncomingMessage, ServerResponse]>
  isSurplus: boolean
}

/** Connections by socket. */
const connections = new WeakMap<Socket, Connection>()

/**
 * Creates Fastify's server, with limits on the memory that its clients use. A connection has one request in progress at
 * a time. The next one begins when the client has read the answer. Until then nothing more is read from the connection.
 */
export function createServer (
  handle: RequestListener,
  options: FastifyHttpOptions<Server>,
  { maxConnections, stallMs = STALL_MS }: { maxConnections: number, stallMs?: number }
): Server {
  const server = http.createServer(options.http ?? {}, receive)
  if (options.keepAliveTimeout !== undefined) server.keepAliveTimeout = options.keepAliveTimeout
  if (options.requestTimeout !== undefined) server.requestTimeout = options.requestTimeout
  const open = new Set<Connection>()
  /** In the order in which they became idle. */
  const idle = new Set<Connection>()
  const surplus = new Set<Connection>()
  let pipelined = 0

  server.on('connection', accept)
  server.setTimeout(stallMs, endStalled)
  const watch = setInterval(boundHeldBytes, HELD_CHECK_MS).unref()
  server.on('close', () => clearInterval(watch))
  return server

  function accept (socket: Socket): void {
    const connection: Connection = { socket, waiting: [], isSurplus: !hasRoom() }
    connections.set(socket, connection)
    if (connection.isSurplus && surplus.size >= MAX_SURPLUS) end(first(surplus)!)
    if (connection.isSurplus) surplus.add(connection)
    else open.add(connection)
    if (!connection.isSurplus) idle.add(connection)
    socket.once('close', () => forget(connection))
    // Node resumes the socket for the rest of a body
    socket.on('resume', () => { if (connection.waiting.length > 0) socket.pause() })
  }

  /** Whether there is room for one more. If not, ends the connection that has been idle longest. */
  function hasRoom (): boolean {
    if (open.size < maxConnections) return true
    const oldest = first(idle)
    if (oldest) end(oldest)
    return oldest !== undefined
  }

  function receive (request: IncomingMessage, response: ServerResponse): void {
    const connection = connections.get(request.socket)!
    if (!connection.answering) return begin(connection, request, response)
    connection.waiting.push([request, response])
    pipelined++
    request.socket.pause()
    if (connection.waiting.length > MAX_PIPELINED) end(connection)
    if (pipelined > MAX_PIPELINED_TOTAL) {
      end([...open, ...surplus].reduce((most, other) => other.waiting.length > most.waiting.length ? other : most))
    }
  }

  function begin (connection: Connection, request: IncomingMessage, response: ServerResponse): void {
    connection.answering = { request, response }
    idle.delete(connection)
    response.once('close', () => next(connection)) // the client has read all of it, or the connection has ended
    handle(request, response)
  }

  function next (connection: Connection): void {
    connection.answering = undefined
    if (connection.socket.destroyed) return
    const following = connection.waiting.shift()
    if (following) {
      pipelined--
      if (connection.waiting.length === 0) connection.socket.resume()
      begin(connection, ...following)
    } else if (open.has(connection)) idle.add(connection)
  }

  function end (connection: Connection): void {
    forget(connection)
    connection.socket.destroy()
  }

  function forget (connection: Connection): void {
    pipelined -= connection.waiting.length
    connection.waiting = []
    for (const set of [open, idle, surplus]) set.delete(connection)
  }

  /**
   * Node calls it when a socket has neither read nor written a byte for a while. A connection that waits for the
   * service or for a slow upload stays open.
   */
  function endStalled (socket: Socket): void {
    if (!connections.get(socket)?.answering || socket.writableLength > 0) socket.destroy()
  }

  /** Ends the connections with the most unread bytes, until the rest is within the limit. */
  function boundHeldBytes (): void {
    const holding = [...open, ...surplus].filter(({ socket }) => socket.writableLength > 0).sort((a, b) =>
      b.socket.writableLength - a.socket.writableLength)
    let held = holding.reduce((sum, { socket }) => sum + socket.writableLength, 0)
    for (const connection of holding) {
      if (held <= MAX_HELD_BYTES) return
      held -= connection.socket.writableLength
      end(connection)
    }
  }
}

const first = <T>(set: Set<T>): T | undefined => set.values().next().value

/** The answer in progress on this connection, if its request has come completely. */
export function answerUnderWay (socket: Socket): ServerResponse | undefined {
  const { answering } = connections.get(socket) ?? {}
  return answering?.request.complete ? answering.response : undefined
}

/** Whether the connection came beyond MAX_CONNECTIONS. */
export const isSurplus = (socket: Socket): boolean => connections.get(socket)?.isSurplus === true

/** RFC 9112 §6.3: a request without either has no body. */
export const hasBody = (headers: IncomingHttpHeaders): boolean => headers['transfer-encoding'] !== undefined ||
  (headers['content-length'] ?? '0') !== '0'

/** Whether the body is a multipart form. */
export const isForm = (headers: IncomingHttpHeaders): boolean =>
  /^multipart\//i.test(headers['content-type'] ?? '')
