/**
 * The part of S3 that is needed to write an object and to read it back at once. Bytes and requests are counted.
 * Bytes are kept only as long as their object is of use.
 */
import { createServer } from 'node:http'
import { listen } from '../harness/listen.js'
import { serveParent } from '../harness/child.js'

/**
 * KEEP=on keeps this many objects, each with its parts in order. Otherwise every byte is dropped, so that the store
 * costs as little as possible.
 */
const MAX_KEPT = 8
const objects = process.env.KEEP === 'on' ? new Map() : undefined
let received = 0
let requests = 0

const server = createServer((request, response) => {
  requests++
  const { pathname, searchParams } = new URL(request.url, 'http://sink')
  const part = objects && request.method === 'PUT'
    ? partOf(pathname, Number(searchParams.get('partNumber') ?? 1))
    : undefined
  request.on('data', chunk => {
    received += chunk.length
    part?.push(chunk)
  })
  request.on('end', () => answer(request.method, pathname, searchParams, response))
})

function partOf (path, number) {
  const parts = objects.get(path) ?? []
  if (!objects.has(path) && path.includes('/original.')) objects.set(path, parts)
  if (objects.size > MAX_KEPT) objects.delete(objects.keys().next().value)
  parts[number - 1] = []
  return parts[number - 1]
}

function answer (method, path, searchParams, response) {
  if (method === 'PUT') return response.setHeader('etag', '"0"').end()
  if (method === 'DELETE') return response.writeHead(204).end()
  if (method === 'HEAD') return response.end()
  if (method === 'GET' && objects?.has(path)) return give(objects.get(path).flat(), response)
  response.setHeader('content-type', 'application/xml')
  if (searchParams.has('uploadId')) {
    return response.end('<CompleteMultipartUploadResult><ETag>"0"</ETag></CompleteMultipartUploadResult>')
  }
  if (method === 'POST') {
    return response.end('<InitiateMultipartUploadResult><UploadId>0</UploadId></InitiateMultipartUploadResult>')
  }
  response.end(searchParams.has('uploads') ? '<ListMultipartUploadsResult/>' : '<ListBucketResult/>')
}

function give (chunks, response) {
  response.setHeader('content-length', chunks.reduce((sum, { length }) => sum + length, 0))
  for (const chunk of chunks) response.write(chunk)
  response.end()
}

serveParent({ endpoint: await listen(server) }, () => ({ received, requests }))
