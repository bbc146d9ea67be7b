import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { damaged, opened } from '../data-file/data-file.js'
import { HOST, mongoUri } from './address.js'
import { Catalog } from './catalog.js'
import type { Services } from './commands/types.js'
import { serve } from './connection.js'
import { Cursors } from './cursors.js'
import { FailPoints } from './fail-points.js'
import { Records } from './records.js'
import { Sessions } from './sessions.js'
import { Storage } from './storage.js'
import { startMonitor } from './ttl.js'

export interface MongoOptions {
  /** The directory the data lives in; made when it is not there. */
  path: string
  /** 0, the default, takes any free port. */
  port?: number
  /** The clock of TTL indexes, `$$NOW` and sessions. */
  now?: () => Date
  ttlIntervalMs?: number
  /** False for tests: writes survive the end of the process, not that of the machine. */
  isDurable?: boolean
}

export interface MongoServer {
  port: number
  uri: string
  /** Ends every connection and resolves when all is on disk and nothing is left open. */
  close: () => Promise<void>
}

/**
 * Starts the emulator of MongoDB: its wire protocol over an LMDB store, one command at a time.
 * The port is bound before the store is opened. Rejects with one clear sentence when the port is taken or the store
 * cannot be opened.
 */
export async function startMongo ({
  path,
  port = 0,
  now = () => new Date(),
  ttlIntervalMs = 60_000,
  isDurable = true
}: MongoOptions): Promise<MongoServer> {
  const sockets = new Set<Socket>()
  const server = createServer()
  await listen(server, port)
  const bound = (server.address() as AddressInfo).port
  const address = `${HOST}:${bound}`
  const services = await openServices(server, { path, isDurable }, { now, address })
  accept(server, sockets, services)
  const monitor = startMonitor(services, ttlIntervalMs)
  return {
    port: bound,
    uri: mongoUri(bound),
    close: async () => {
      monitor.stop()
      for (const socket of sockets) socket.destroy()
      if (server.listening) await new Promise(resolve => server.close(resolve))
      await services.storage.close()
    }
  }
}

async function listen (server: Server, port: number): Promise<void> {
  try {
    server.listen(port, HOST)
    await once(server, 'listening')
  } catch (error) {
    const reason = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
      ? 'the port is already in use'
      : String(error)
    throw new Error(`Embedded MongoDB cannot listen on ${HOST}:${port}: ${reason}`, { cause: error })
  }
}

async function openServices (
  server: Server,
  where: { path: string, isDurable: boolean },
  outside: Pick<Services, 'now' | 'address'>
): Promise<Services> {
  const { path, isDurable } = where
  try {
    mkdirSync(path, { recursive: true })
    const { storage, catalog, records } = opened(path, () => openStore(path, isDurable))
    return {
      ...outside,
      storage,
      catalog,
      records,
      cursors: new Cursors(),
      sessions: new Sessions(storage, outside.now),
      failPoints: new FailPoints()
    }
  } catch (error) {
    await new Promise(resolve => server.close(resolve))
    if (error instanceof Error && error.message.includes(' is damaged: ')) throw error
    throw new Error(
      `Embedded MongoDB cannot open its store in ${path}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error }
    )
  }
}

function openStore (path: string, isDurable: boolean): Pick<Services, 'storage' | 'catalog' | 'records'> {
  const storage = new Storage(path, isDurable)
  try {
    const catalog = new Catalog(storage)
    const records = new Records(storage, catalog)
    if (!storage.isSealed) records.check()
    return { storage, catalog, records }
  } catch (error) {
    throw damaged(path, error)
  }
}

function accept (server: Server, sockets: Set<Socket>, services: Services): void {
  let connections = 0
  server.on('connection', socket => {
    sockets.add(socket)
    socket.on('close', () => { sockets.delete(socket) })
    serve(socket, ++connections, services).catch(() => { socket.destroy() })
  })
}
