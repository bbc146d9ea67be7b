import { xmlReply, type Call, type Reply } from './call.js'
import { quoted } from './conditions.js'
import { S3Error } from './errors.js'
import { nameEncoder, pageLimit, rollUp } from './listing.js'
import type { ObjectRecord } from './records.js'
import { queryValue } from './target.js'
import { xmlDocument, type Content } from './xml.js'

export async function listObjectsV2 (call: Call): Promise<Reply> {
  const { store, bucket, query, settings } = call
  const [prefix, delimiter, startAfter] = [text(call, 'prefix'), text(call, 'delimiter'), text(call, 'start-after')]
  const token = queryValue(call, 'continuation-token')
  const limit = pageLimit(query, 'max-keys')
  const { encodingType, encode } = nameEncoder(query)
  const after = token === undefined ? startAfter : readToken(token)
  const page = rollUp(start => store.objects(bucket, start), { prefix, delimiter, after, limit })
  const owner = queryValue(call, 'fetch-owner') === 'true' ? { ID: settings.ownerId } : undefined
  return xmlReply(xmlDocument('ListBucketResult', {
    Name: bucket,
    Prefix: encode(prefix),
    StartAfter: startAfter === '' ? undefined : encode(startAfter),
    ContinuationToken: token,
    NextContinuationToken: page.truncated && page.last !== undefined
      ? Buffer.from(page.last).toString('base64url')
      : undefined,
    KeyCount: page.items.length + page.prefixes.length,
    MaxKeys: limit,
    Delimiter: delimiter === '' ? undefined : encode(delimiter),
    EncodingType: encodingType,
    IsTruncated: page.truncated,
    Contents: page.items.map(record => entry(record, encode, owner)),
    CommonPrefixes: page.prefixes.map(common => ({ Prefix: encode(common) }))
  }))
}

/** Version 1: a marker in place of a token, and always the owner. */
export async function listObjects (call: Call): Promise<Reply> {
  const { store, bucket, query, settings } = call
  const [prefix, delimiter, marker] = [text(call, 'prefix'), text(call, 'delimiter'), text(call, 'marker')]
  const limit = pageLimit(query, 'max-keys')
  const { encodingType, encode } = nameEncoder(query)
  const page = rollUp(start => store.objects(bucket, start), { prefix, delimiter, after: marker, limit })
  return xmlReply(xmlDocument('ListBucketResult', {
    Name: bucket,
    Prefix: encode(prefix),
    Marker: encode(marker),
    NextMarker: page.truncated && delimiter !== '' && page.last !== undefined ? encode(page.last) : undefined,
    MaxKeys: limit,
    Delimiter: delimiter === '' ? undefined : encode(delimiter),
    EncodingType: encodingType,
    IsTruncated: page.truncated,
    Contents: page.items.map(record => entry(record, encode, { ID: settings.ownerId })),
    CommonPrefixes: page.prefixes.map(common => ({ Prefix: encode(common) }))
  }))
}

function entry (record: ObjectRecord, encode: (name: string) => string, owner: Content): Content {
  return {
    Key: encode(record.key),
    LastModified: new Date(record.modifiedAt).toISOString(),
    ETag: quoted(record.etag),
    ChecksumAlgorithm: record.checksum?.algorithm,
    ChecksumType: record.checksum?.type,
    Size: record.size,
    Owner: owner,
    StorageClass: 'STANDARD'
  }
}

function text (call: Call, name: string): string {
  return queryValue(call, name) ?? ''
}

function readToken (token: string): string {
  const key = Buffer.from(token, 'base64url').toString()
  if (key === '' || Buffer.from(key).toString('base64url') !== token) {
    throw new S3Error('InvalidArgument', 'The continuation token provided is incorrect', {
      ArgumentName: 'continuation-token'
    })
  }
  return key
}
