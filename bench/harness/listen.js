import { once } from 'node:events'
import { createServer } from 'node:net'

/** Lets a server listen on a free port of loopback. Resolves with its URL. */
export async function listen (server) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${server.address().port}`
}

/** A port of loopback that is free at the moment. */
export async function freePort () {
  const server = createServer()
  const { port } = new URL(await listen(server))
  server.close()
  await once(server, 'close')
  return port
}
