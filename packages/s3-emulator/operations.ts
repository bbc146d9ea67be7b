import { createBucket, deleteBucket, headBucket, putBucketPolicy } from './buckets.js'
import type { Call, Reply } from './call.js'
import { S3Error } from './errors.js'
import { listMultipartUploads, listObjectsV2 } from './listing.js'
import { abortMultipartUpload, completeMultipartUpload, createMultipartUpload, uploadPart } from './multipart.js'
import { deleteObject, deleteObjects, putObject } from './objects.js'
import { postObject } from './post-object.js'
import { getObject } from './read.js'
import type { Target } from './target.js'

export interface Operation {
  method: string
  level: 'bucket' | 'object'
  /** Query names that select it. The first operation whose names are all there is chosen. */
  when?: readonly string[]
  /** Other query names that it takes. */
  takes?: readonly string[]
  /** `public`: anonymous callers, where the bucket's policy lets them. `form`: the form in its body authorizes it. */
  access?: 'public' | 'form'
  run: (call: Call) => Promise<Reply>
}

const OPERATIONS: readonly Operation[] = [
  {
    method: 'GET',
    level: 'bucket',
    when: ['uploads'],
    takes: ['prefix', 'key-marker', 'upload-id-marker', 'max-uploads'],
    run: listMultipartUploads
  },
  {
    method: 'GET',
    level: 'bucket',
    when: ['list-type'],
    takes: ['prefix', 'continuation-token', 'max-keys'],
    run: listObjectsV2
  },
  { method: 'HEAD', level: 'bucket', run: headBucket },
  { method: 'PUT', level: 'bucket', when: ['policy'], run: putBucketPolicy },
  { method: 'PUT', level: 'bucket', run: createBucket },
  { method: 'DELETE', level: 'bucket', run: deleteBucket },
  { method: 'POST', level: 'bucket', when: ['delete'], run: deleteObjects },
  { method: 'POST', level: 'bucket', access: 'form', run: postObject },

  { method: 'GET', level: 'object', access: 'public', run: getObject },
  { method: 'HEAD', level: 'object', access: 'public', run: getObject },
  { method: 'OPTIONS', level: 'object', access: 'public', run: preflight },
  { method: 'PUT', level: 'object', when: ['uploadId', 'partNumber'], run: uploadPart },
  { method: 'PUT', level: 'object', run: putObject },
  { method: 'POST', level: 'object', when: ['uploads'], run: createMultipartUpload },
  { method: 'POST', level: 'object', when: ['uploadId'], run: completeMultipartUpload },
  { method: 'DELETE', level: 'object', when: ['uploadId'], run: abortMultipartUpload },
  { method: 'DELETE', level: 'object', run: deleteObject }
]

/** Throws MethodNotAllowed for a method that S3 does not know, NotImplemented for an operation that only S3 has. */
export function findOperation ({ method, bucket, key, query }: Target): Operation {
  if (bucket === '') throw new S3Error('NotImplemented')
  const level = key === '' ? 'bucket' : 'object'
  const candidates = OPERATIONS.filter(operation => operation.level === level && operation.method === method)
  if (candidates.length === 0) {
    throw new S3Error('MethodNotAllowed', undefined, { Method: method, ResourceType: level.toUpperCase() })
  }
  const found = candidates.find(({ when = [] }) => when.every(name => query.has(name)))
  const known = ['x-id', ...found?.when ?? [], ...found?.takes ?? []]
  const unknown = [...query.keys()].filter(name => !known.includes(name))
  if (found === undefined || unknown.length > 0) {
    throw new S3Error('NotImplemented', undefined, { Query: unknown.join(', ') })
  }
  return found
}

/** Any web page may read public objects, with any header (Fetch Standard, "CORS-preflight request"). */
async function preflight ({ headers }: Call): Promise<Reply> {
  const asked = headers.get('access-control-request-headers')
  return { status: 200, headers: { 'access-control-allow-methods': 'GET, HEAD', 'access-control-allow-headers': asked } }
}
