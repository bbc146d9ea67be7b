/** Just enough of S3 to be written to; every byte is counted and dropped, so that the store's own cost is nobody's. */
import { createServer } from 'node:http'
import { listen } from '../harness/listen.js'
import { serveParent } from '../harness/child.js'

let received = 0

const server = createServer((request, response) => {
  request.on('data', chunk => { received += chunk.length })
  request.on('end', () => answer(request, response))
})

function answer ({ method, url }, response) {
  const { searchParams } = new URL(url, 'http://sink')
  if (method === 'PUT') return response.setHeader('etag', '"0"').end()
  if (method === 'DELETE') return response.writeHead(204).end()
  if (method === 'HEAD') return response.end()
  response.setHeader('content-type', 'application/xml')
  if (searchParams.has('uploadId')) return response.end('<CompleteMultipartUploadResult><ETag>"0"</ETag></CompleteMultipartUploadResult>')
  if (method === 'POST') return response.end('<InitiateMultipartUploadResult><UploadId>0</UploadId></InitiateMultipartUploadResult>')
  response.end(searchParams.has('uploads') ? '<ListMultipartUploadsResult/>' : '<ListBucketResult/>')
}

serveParent({ endpoint: await listen(server) }, () => ({ received }))
