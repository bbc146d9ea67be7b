import { quoted, xmlReply, type Call, type Reply } from './call.js'
import { S3Error } from './errors.js'
import { xmlDocument } from './xml.js'

const MAX_PAGE = 1000

export async function listObjectsV2 ({ store, bucket, query }: Call): Promise<Reply> {
  const prefix = query.get('prefix') ?? ''
  const token = query.get('continuation-token')
  const limit = pageLimit(query, 'max-keys')
  const from = firstAfter(prefix, token === undefined ? undefined : Buffer.from(`${readToken(token)}\0`))
  const { items, isTruncated } = pageOf(store.objects(bucket, from), prefix, limit)
  return xmlReply(xmlDocument('ListBucketResult', {
    Name: bucket,
    Prefix: prefix,
    ContinuationToken: token,
    NextContinuationToken: isTruncated ? Buffer.from(items.at(-1)?.key ?? '').toString('base64url') : undefined,
    KeyCount: items.length,
    MaxKeys: limit,
    IsTruncated: isTruncated,
    Contents: items.map(({ key, modifiedAt, etag, size }) => ({
      Key: key,
      LastModified: new Date(modifiedAt).toISOString(),
      ETag: quoted(etag),
      Size: size
    }))
  }))
}

/** By key, then by age; a marker is a key, or a key and an upload id. */
export async function listMultipartUploads ({ store, bucket, query }: Call): Promise<Reply> {
  const [prefix = '', keyMarker = '', idMarker = ''] = ['prefix', 'key-marker', 'upload-id-marker'].map(name =>
    query.get(name))
  const limit = pageLimit(query, 'max-uploads')
  // Upload ids are hexadecimal. `~` sorts after all of them, and an id with `~` after that id.
  const from = firstAfter(prefix, keyMarker === '' ? undefined : Buffer.from(`${keyMarker}\0${idMarker}~`))
  const { items, isTruncated } = pageOf(store.uploads(bucket, from), prefix, limit)
  return xmlReply(xmlDocument('ListMultipartUploadsResult', {
    Bucket: bucket,
    KeyMarker: keyMarker,
    UploadIdMarker: idMarker,
    NextKeyMarker: isTruncated ? items.at(-1)?.key : undefined,
    NextUploadIdMarker: isTruncated ? items.at(-1)?.uploadId : undefined,
    Prefix: prefix,
    MaxUploads: limit,
    IsTruncated: isTruncated,
    Upload: items.map(({ key, uploadId, initiatedAt }) => ({
      Key: key,
      UploadId: uploadId,
      Initiated: new Date(initiatedAt).toISOString()
    }))
  }))
}

/** Where a page begins, in UTF-8 binary order: at the prefix, or after the last item of the page before. */
function firstAfter (prefix: string, after: Buffer = Buffer.alloc(0)): Buffer {
  const first = Buffer.from(prefix)
  return Buffer.compare(after, first) > 0 ? after : first
}

/** The first items with the prefix, and whether more of them follow. */
function pageOf<T extends { key: string }> (items: Iterable<T>, prefix: string, limit: number): {
  items: T[]
  isTruncated: boolean
} {
  const page: T[] = []
  for (const item of items) {
    if (!item.key.startsWith(prefix)) break
    if (page.length === limit) return { items: page, isTruncated: limit > 0 }
    page.push(item)
  }
  return { items: page, isTruncated: false }
}

/** Throws InvalidArgument; more than a thousand means a thousand. */
function pageLimit (query: Call['query'], name: string): number {
  const limit = Number(query.get(name) ?? MAX_PAGE)
  if (!Number.isInteger(limit) || limit < 0) throw new S3Error('InvalidArgument', `${name} is no page size`)
  return Math.min(limit, MAX_PAGE)
}

function readToken (token: string): string {
  const key = Buffer.from(token, 'base64url').toString()
  if (key === '' || Buffer.from(key).toString('base64url') !== token) {
    throw new S3Error('InvalidArgument', 'The continuation token provided is incorrect')
  }
  return key
}
