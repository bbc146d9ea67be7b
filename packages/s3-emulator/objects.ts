import { requireLength } from './body.js'
import { secondsNow, xmlReply, type Call, type Reply } from './call.js'
import { isAlgorithm, type Algorithm } from './checksums.js'
import { deleteCondition, quoted, readCondition, writeCondition } from './conditions.js'
import { copySource } from './copy-source.js'
import { describe } from './describe.js'
import { S3Error } from './errors.js'
import {
  adopt,
  announcedChecksum,
  checksumHeaders,
  createVerifier,
  ingest,
  unsupportedAlgorithm,
  verifiedText
} from './ingest.js'
import { checkKey } from './names.js'
import type { Description } from './records.js'
import { childText, parseXml, xmlDocument, type Content, type XmlElement } from './xml.js'

export const MAX_PUT = 5 * 1024 ** 3
const MAX_DELETES = 1000

export async function putObject (call: Call): Promise<Reply> {
  const { store, bucket, key, headers, body } = call
  requireLength(call, body, MAX_PUT)
  const description = describe(headers)
  const check = writeCondition(headers)
  check(store.object(bucket, key))
  const { blob, size, md5, checksum } = await ingest(
    store,
    body.bytes(),
    createVerifier({ headers, trailers: body.trailers })
  )
  adopt(store, blob, () => store.putObject(bucket, {
    key,
    etag: md5,
    size,
    modifiedAt: secondsNow(call.settings),
    pieces: [{ blob, size }],
    ...description,
    ...(checksum && { checksum })
  }, check))
  return { status: 200, headers: { etag: quoted(md5), ...checksumHeaders(checksum) } }
}

export async function copyObject (call: Call): Promise<Reply> {
  const { store, bucket, key, headers } = call
  const source = copySource(call)
  if (source.record.size > MAX_PUT) {
    throw new S3Error(
      'InvalidRequest',
      'The specified copy source is larger than the maximum allowable size for a copy source: 5368709120'
    )
  }
  const directive = headers.get('x-amz-metadata-directive') ?? 'COPY'
  if (directive !== 'COPY' && directive !== 'REPLACE') {
    throw new S3Error('InvalidArgument', 'Unknown metadata directive.', {
      ArgumentName: 'x-amz-metadata-directive',
      ArgumentValue: directive
    })
  }
  if (source.bucket === bucket && source.record.key === key && directive === 'COPY') {
    throw new S3Error(
      'InvalidRequest',
      'This copy request is illegal because it is trying to copy an object to itself without changing the object\'s metadata, storage class, website redirect location or encryption attributes.'
    )
  }
  if (readCondition(headers, source.record, 'x-amz-copy-source-') === 'not-modified') {
    throw new S3Error('PreconditionFailed')
  }
  const description: Description = directive === 'REPLACE'
    ? describe(headers)
    : { headers: source.record.headers, metadata: source.record.metadata }
  const check = writeCondition(headers)
  const release = store.blobs.hold(source.record.pieces)
  try {
    const verifier = createVerifier(
      { headers: new Map(), trailers: new Map() },
      copyAlgorithm(call) ?? source.record.checksum?.algorithm
    )
    const { blob, size, md5, checksum } = await ingest(
      store,
      store.blobs.read(source.record.pieces, 0, source.record.size),
      verifier
    )
    const modifiedAt = secondsNow(call.settings)
    adopt(store, blob, () => store.putObject(bucket, {
      key, etag: md5, size, modifiedAt, pieces: [{ blob, size }], ...description, ...(checksum && { checksum })
    }, check))
    return xmlReply(xmlDocument('CopyObjectResult', {
      LastModified: new Date(modifiedAt).toISOString(),
      ETag: quoted(md5),
      ...(checksum && { ChecksumType: checksum.type, [`Checksum${checksum.algorithm}`]: checksum.value })
    }))
  } finally {
    release()
  }
}

export async function deleteObject (call: Call): Promise<Reply> {
  const [
    etag, size, modifiedAt
  ] = ['if-match', 'x-amz-if-match-size', 'x-amz-if-match-last-modified-time'].map(name => call.headers.get(name))
  call.store.deleteObject(call.bucket, call.key, deleteCondition({ etag, size, modifiedAt }))
  return { status: 204 }
}

/** Deletes up to 1,000 keys. Each has its own result. */
export async function deleteObjects (call: Call): Promise<Reply> {
  const { headers, body } = call
  if (!headers.has('content-md5') && announcedChecksum(headers) === undefined) {
    throw new S3Error('InvalidRequest', 'Missing required header for this request: Content-MD5 OR x-amz-checksum-*')
  }
  const request = parseXml(await verifiedText(headers, body))
  const wanted = request.children.filter(child => child.name === 'Object')
  if (request.name !== 'Delete' || wanted.length === 0 || wanted.length > MAX_DELETES || body.length === 0) {
    throw new S3Error('MalformedXML')
  }
  const quiet = childText(request, 'Quiet')?.trim() === 'true'
  const results = wanted.map(object => deleteOne(call, object))
  return xmlReply(xmlDocument('DeleteResult', {
    Deleted: quiet ? [] : results.flatMap(result => 'deleted' in result ? [result.deleted] : []),
    Error: results.flatMap(result => 'error' in result ? [result.error] : [])
  }))
}

function deleteOne (call: Call, object: XmlElement): { deleted: Content } | { error: Content } {
  const key = childText(object, 'Key')
  const version = childText(object, 'VersionId')
  const [etag, size, modifiedAt] = ['ETag', 'Size', 'LastModifiedTime'].map(name => childText(object, name))
  if (key === undefined || key === '') throw new S3Error('MalformedXML')
  try {
    checkKey(key)
    if (version !== undefined && version !== '' && version !== 'null') {
      throw new S3Error('NoSuchVersion', 'The specified version does not exist.')
    }
    call.store.deleteObject(call.bucket, key, deleteCondition({ etag, size, modifiedAt }))
    return { deleted: { Key: key, VersionId: version === '' ? undefined : version } }
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    return {
      error: { Key: key, VersionId: version === '' ? undefined : version, Code: error.code, Message: error.message }
    }
  }
}

function copyAlgorithm ({ headers }: Call): Algorithm | undefined {
  const wanted = headers.get('x-amz-checksum-algorithm')?.toUpperCase()
  if (wanted !== undefined && !isAlgorithm(wanted)) throw unsupportedAlgorithm()
  return wanted
}
