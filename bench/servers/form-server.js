import { createServer } from 'node:http'
import { Busboy } from '@fastify/busboy'
import { serveParent } from '../harness/child.js'
import { listen } from '../harness/listen.js'

/**
 * A minimal server that gives the file of each form to `store`, as a stream with its content type, and then answers.
 */
export async function formServer (store) {
  const server = createServer((request, response) => {
    const form = new Busboy({ headers: request.headers, limits: { fileSize: Infinity } })
    form.on('file', async (name, file, filename, encoding, type) => {
      try {
        await store(file, type)
        response.writeHead(201, { 'content-type': 'application/json' }).end('{"message":"File uploaded"}')
      } catch (error) {
        response.writeHead(500).end(String(error))
      }
    })
    request.pipe(form)
  })
  serveParent({ url: await listen(server) })
}
