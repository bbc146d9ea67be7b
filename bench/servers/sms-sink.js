/** An SMS gateway that accepts every message. */
import { createServer } from 'node:http'
import { serveParent } from '../harness/child.js'
import { listen } from '../harness/listen.js'

const server = createServer((request, response) => {
  request.resume().once('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'))
})
serveParent({ url: await listen(server) })
