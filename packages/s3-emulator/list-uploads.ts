import { xmlReply, type Call, type Reply } from './call.js'
import { quoted } from './conditions.js'
import { S3Error } from './errors.js'
import { nameEncoder, pageLimit, rollUp } from './listing.js'
import type { UploadRecord } from './records.js'
import { queryValue } from './target.js'
import { xmlDocument } from './xml.js'

/** By key, then by age; a marker is a key, or a key and an upload id. */
export async function listMultipartUploads (call: Call): Promise<Reply> {
  const { store, bucket, query, settings } = call
  const [
    prefix, delimiter, keyMarker
  ] = [queryValue(call, 'prefix') ?? '', queryValue(call, 'delimiter') ?? '', queryValue(call, 'key-marker') ?? '']
  const idMarker = keyMarker === '' ? '' : queryValue(call, 'upload-id-marker') ?? ''
  const limit = pageLimit(query, 'max-uploads')
  const { encodingType, encode } = nameEncoder(query)
  // The marker's own key begins the page again: its uploads up to the marked one were listed before.
  const wasListed = ({ key, uploadId }: UploadRecord): boolean => key === keyMarker &&
    (idMarker === '' || uploadId <= idMarker)
  function * unlisted (start: Buffer): Generator<UploadRecord> {
    for (const upload of store.uploads(bucket, start)) if (keyMarker === '' || !wasListed(upload)) yield upload
  }
  const page = rollUp(unlisted, { prefix, delimiter, after: keyMarker, limit })
  const last = page.items.at(-1)
  const lastIsUpload = last !== undefined && page.last === last.key
  return xmlReply(xmlDocument('ListMultipartUploadsResult', {
    Bucket: bucket,
    KeyMarker: encode(keyMarker),
    UploadIdMarker: idMarker,
    NextKeyMarker: page.truncated && page.last !== undefined ? encode(page.last) : undefined,
    NextUploadIdMarker: page.truncated && lastIsUpload ? last.uploadId : undefined,
    Prefix: encode(prefix),
    Delimiter: delimiter === '' ? undefined : encode(delimiter),
    EncodingType: encodingType,
    MaxUploads: limit,
    IsTruncated: page.truncated,
    Upload: page.items.map(upload => ({
      Key: encode(upload.key),
      UploadId: upload.uploadId,
      Initiator: { ID: settings.ownerId },
      Owner: { ID: settings.ownerId },
      StorageClass: 'STANDARD',
      Initiated: new Date(upload.initiatedAt).toISOString(),
      ChecksumAlgorithm: upload.algorithm,
      ChecksumType: upload.checksumType
    })),
    CommonPrefixes: page.prefixes.map(common => ({ Prefix: encode(common) }))
  }))
}

export async function listParts (call: Call): Promise<Reply> {
  const { store, bucket, key, query, settings } = call
  const upload = store.upload(bucket, key, queryValue(call, 'uploadId') ?? '')
  const marker = queryValue(call, 'part-number-marker') ?? '0'
  if (!/^\d{1,10}$/.test(marker)) {
    throw new S3Error('InvalidArgument', 'Provided part-number-marker not an integer or within integer range', {
      ArgumentName: 'part-number-marker',
      ArgumentValue: marker
    })
  }
  const limit = pageLimit(query, 'max-parts')
  const { encodingType, encode } = nameEncoder(query)
  const rest = store.parts(upload.uploadId).filter(part => part.partNumber > Number(marker))
  const page = rest.slice(0, limit)
  const truncated = limit > 0 && rest.length > page.length
  return xmlReply(xmlDocument('ListPartsResult', {
    Bucket: bucket,
    EncodingType: encodingType,
    Key: encode(key),
    UploadId: upload.uploadId,
    Initiator: { ID: settings.ownerId },
    Owner: { ID: settings.ownerId },
    StorageClass: 'STANDARD',
    PartNumberMarker: Number(marker),
    NextPartNumberMarker: page.at(-1)?.partNumber ?? 0,
    MaxParts: limit,
    IsTruncated: truncated,
    ChecksumAlgorithm: upload.algorithm,
    ChecksumType: upload.checksumType,
    Part: page.map(part => ({
      PartNumber: part.partNumber,
      LastModified: new Date(part.modifiedAt).toISOString(),
      ETag: quoted(part.etag),
      Size: part.size,
      ...(part.checksum && { [`Checksum${part.checksum.algorithm}`]: part.checksum.value })
    }))
  }))
}
