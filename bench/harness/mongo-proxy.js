import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { listen } from './listen.js'

const OP_MSG = 2013
const STRING = 2
/** Commands of the driver that no operation asks for. */
const UNASKED = new Set(['hello', 'ismaster', 'ping', 'endSessions', 'killCursors'])

/**
 * Stands between the service and its database. Each command that passes is told to `seen` by its name and collection,
 * such as `find users`. The address must name one server, without TLS.
 */
export async function proxyMongo (uri, seen) {
  const { hostname, port } = new URL(uri)
  const sockets = new Set()
  const server = createServer(client => {
    const database = connect({ host: hostname, port: port || 27017, noDelay: true })
    const read = commandReader(seen)
    client.on('data', read)
    client.pipe(database).pipe(client)
    for (const socket of [client, database]) {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', () => {
        client.destroy()
        database.destroy()
      })
    }
  })
  const own = new URL(uri)
  own.host = new URL(await listen(server)).host
  own.searchParams.set('directConnection', 'true')
  return {
    uri: own.href,
    async close () {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    }
  }
}

/** Reads messages of MongoDB's wire protocol from the chunks of one direction. */
function commandReader (seen) {
  let bytes = Buffer.alloc(0)
  return chunk => {
    bytes = Buffer.concat([bytes, chunk])
    while (bytes.length >= 16 && bytes.length >= bytes.readInt32LE(0)) {
      const message = bytes.subarray(0, bytes.readInt32LE(0))
      bytes = bytes.subarray(message.length)
      const command = message.readInt32LE(12) === OP_MSG ? nameOf(message) : undefined
      if (command && !UNASKED.has(command.name)) seen([command.name, command.collection].filter(Boolean).join(' '))
    }
  }
}

/** The first member of the command, after the header (16 bytes), flags (4), section kind (1) and document size (4). */
function nameOf (message) {
  const start = 16 + 4 + 1 + 4
  const end = message.indexOf(0, start + 1)
  const name = message.toString('utf8', start + 1, end)
  if (message[start] !== STRING) return { name }
  return { name, collection: message.toString('utf8', end + 5, end + 4 + message.readInt32LE(end + 1)) }
}
