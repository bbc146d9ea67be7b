import { once } from 'node:events'

/** Lets a server listen on a free port of loopback. Resolves with its URL. */
export async function listen (server) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${server.address().port}`
}
