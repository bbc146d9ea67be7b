import * as buckets from './buckets.js'
import type { Call, Reply } from './call.js'
import { completeMultipartUpload } from './complete.js'
import { S3Error } from './errors.js'
import { listObjects, listObjectsV2 } from './list-objects.js'
import { listMultipartUploads, listParts } from './list-uploads.js'
import { listObjectVersions } from './list-versions.js'
import * as multipart from './multipart.js'
import * as objects from './objects.js'
import { postObject } from './post-object.js'
import * as read from './read.js'
import type { Target } from './target.js'

export interface Operation {
  name: string
  method: string
  level: 'service' | 'bucket' | 'object'
  /** Query names that select it. The first operation whose names are all there is chosen. */
  when?: readonly string[]
  /** A header that selects it. */
  header?: string
  /** The name of the action in a bucket policy. */
  action: string
  /** Whether the operation reads the request's body. For the others the body is read and checked first. */
  takesBody?: true
  /** Whether the form in its body authorizes it, instead of the request. */
  byForm?: true
  run: (call: Call) => Promise<Reply>
}

/** Query names of subresources, whether they are served here or not. */
const SUBRESOURCES = new Set([
  'accelerate',
  'acl',
  'analytics',
  'attributes',
  'cors',
  'delete',
  'encryption',
  'intelligent-tiering',
  'inventory',
  'legal-hold',
  'lifecycle',
  'location',
  'logging',
  'metadataConfiguration',
  'metadataInventoryTable',
  'metadataJournalTable',
  'metadataTable',
  'metrics',
  'notification',
  'object-lock',
  'ownershipControls',
  'policy',
  'policyStatus',
  'publicAccessBlock',
  'renameObject',
  'replication',
  'requestPayment',
  'restore',
  'retention',
  'select',
  'select-type',
  'session',
  'tagging',
  'torrent',
  'uploadId',
  'uploads',
  'versioning',
  'versions',
  'website',
  'abac'
])

const OPERATIONS: readonly Operation[] = [
  { name: 'ListBuckets', method: 'GET', level: 'service', action: 's3:ListAllMyBuckets', run: buckets.listBuckets },

  {
    name: 'GetBucketLocation',
    method: 'GET',
    level: 'bucket',
    when: ['location'],
    action: 's3:GetBucketLocation',
    run: buckets.getBucketLocation
  },
  {
    name: 'GetBucketVersioning',
    method: 'GET',
    level: 'bucket',
    when: ['versioning'],
    action: 's3:GetBucketVersioning',
    run: buckets.getBucketVersioning
  },
  {
    name: 'GetBucketPolicy',
    method: 'GET',
    level: 'bucket',
    when: ['policy'],
    action: 's3:GetBucketPolicy',
    run: buckets.getBucketPolicy
  },
  {
    name: 'PutBucketPolicy',
    method: 'PUT',
    level: 'bucket',
    when: ['policy'],
    action: 's3:PutBucketPolicy',
    takesBody: true,
    run: buckets.putBucketPolicy
  },
  {
    name: 'DeleteBucketPolicy',
    method: 'DELETE',
    level: 'bucket',
    when: ['policy'],
    action: 's3:DeleteBucketPolicy',
    run: buckets.deleteBucketPolicy
  },
  {
    name: 'ListMultipartUploads',
    method: 'GET',
    level: 'bucket',
    when: ['uploads'],
    action: 's3:ListBucketMultipartUploads',
    run: listMultipartUploads
  },
  {
    name: 'DeleteObjects',
    method: 'POST',
    level: 'bucket',
    when: ['delete'],
    action: 's3:DeleteObject',
    takesBody: true,
    run: objects.deleteObjects
  },
  {
    name: 'ListObjectVersions',
    method: 'GET',
    level: 'bucket',
    when: ['versions'],
    action: 's3:ListBucketVersions',
    run: listObjectVersions
  },
  {
    name: 'ListObjectsV2',
    method: 'GET',
    level: 'bucket',
    when: ['list-type'],
    action: 's3:ListBucket',
    run: listObjectsV2
  },
  { name: 'ListObjects', method: 'GET', level: 'bucket', action: 's3:ListBucket', run: listObjects },
  { name: 'HeadBucket', method: 'HEAD', level: 'bucket', action: 's3:ListBucket', run: buckets.headBucket },
  {
    name: 'CreateBucket',
    method: 'PUT',
    level: 'bucket',
    action: 's3:CreateBucket',
    takesBody: true,
    run: buckets.createBucket
  },
  { name: 'DeleteBucket', method: 'DELETE', level: 'bucket', action: 's3:DeleteBucket', run: buckets.deleteBucket },
  {
    name: 'PostObject',
    method: 'POST',
    level: 'bucket',
    action: 's3:PutObject',
    takesBody: true,
    byForm: true,
    run: postObject
  },

  {
    name: 'ListParts',
    method: 'GET',
    level: 'object',
    when: ['uploadId'],
    action: 's3:ListMultipartUploadParts',
    run: listParts
  },
  {
    name: 'GetObjectAttributes',
    method: 'GET',
    level: 'object',
    when: ['attributes'],
    action: 's3:GetObjectAttributes',
    run: read.getObjectAttributes
  },
  { name: 'GetObject', method: 'GET', level: 'object', action: 's3:GetObject', run: read.getObject },
  { name: 'HeadObject', method: 'HEAD', level: 'object', action: 's3:GetObject', run: read.getObject },
  {
    name: 'UploadPartCopy',
    method: 'PUT',
    level: 'object',
    when: ['uploadId', 'partNumber'],
    header: 'x-amz-copy-source',
    action: 's3:PutObject',
    run: multipart.uploadPartCopy
  },
  {
    name: 'UploadPart',
    method: 'PUT',
    level: 'object',
    when: ['uploadId', 'partNumber'],
    action: 's3:PutObject',
    takesBody: true,
    run: multipart.uploadPart
  },
  {
    name: 'CopyObject',
    method: 'PUT',
    level: 'object',
    header: 'x-amz-copy-source',
    action: 's3:PutObject',
    run: objects.copyObject
  },
  {
    name: 'PutObject',
    method: 'PUT',
    level: 'object',
    action: 's3:PutObject',
    takesBody: true,
    run: objects.putObject
  },
  {
    name: 'CreateMultipartUpload',
    method: 'POST',
    level: 'object',
    when: ['uploads'],
    action: 's3:PutObject',
    run: multipart.createMultipartUpload
  },
  {
    name: 'CompleteMultipartUpload',
    method: 'POST',
    level: 'object',
    when: ['uploadId'],
    action: 's3:PutObject',
    takesBody: true,
    run: completeMultipartUpload
  },
  {
    name: 'AbortMultipartUpload',
    method: 'DELETE',
    level: 'object',
    when: ['uploadId'],
    action: 's3:AbortMultipartUpload',
    run: multipart.abortMultipartUpload
  },
  { name: 'DeleteObject', method: 'DELETE', level: 'object', action: 's3:DeleteObject', run: objects.deleteObject }
]

/** Throws NotImplemented for an operation that only S3 has, MethodNotAllowed for one that neither has. */
export function findOperation (target: Target): Operation {
  const level = target.bucket === '' ? 'service' : target.key === '' ? 'bucket' : 'object'
  const names = new Set(target.query.map(([name]) => name))
  const subresources = [...names].filter(name => SUBRESOURCES.has(name))
  const candidates = OPERATIONS.filter(operation => operation.level === level && operation.method === target.method)
  const found = candidates.find(({ when = [], header }) => when.every(name => names.has(name)) &&
    subresources.every(name => when.includes(name)) &&
    (header === undefined || target.headers.has(header)))
  if (found !== undefined) {
    refuseStray(target)
    return found
  }
  if (subresources.length > 0) throw new S3Error('NotImplemented', undefined, { Query: subresources.join(', ') })
  throw new S3Error('MethodNotAllowed', undefined, { Method: target.method, ResourceType: level.toUpperCase() })
}

/** Refuses any version but `null`, since nothing is versioned here, and a part without an upload. */
function refuseStray (target: Target): void {
  if (target.method === 'PUT' &&
    target.query.some(([name]) => name === 'partNumber') &&
    !target.query.some(([name]) => name === 'uploadId')) {
    throw new S3Error('InvalidArgument', 'This operation does not accept a query-string.', {
      ArgumentName: 'partNumber'
    })
  }
  const version = target.query.find(([name]) => name === 'versionId')?.[1]
  if (version !== undefined && version !== 'null') {
    throw new S3Error('InvalidArgument', 'Invalid version id specified', {
      ArgumentName: 'versionId',
      ArgumentValue: version
    })
  }
}
