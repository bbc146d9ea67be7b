/** An SMS gateway that accepts every message, and remembers the last one. */
import { createServer } from 'node:http'
import { serveParent } from '../harness/child.js'
import { listen } from '../harness/listen.js'

let last = ''
const server = createServer(async (request, response) => {
  last = Buffer.concat(await request.toArray()).toString()
  response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
})
serveParent({ url: await listen(server) }, () => ({ last }))
