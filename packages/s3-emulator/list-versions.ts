import { xmlReply, type Call, type Reply } from './call.js'
import { quoted } from './conditions.js'
import { S3Error } from './errors.js'
import { nameEncoder, pageLimit, rollUp } from './listing.js'
import { queryValue } from './target.js'
import { xmlDocument } from './xml.js'

/** Answers as for a bucket that was never versioned: each object has one version, `null`. */
export async function listObjectVersions (call: Call): Promise<Reply> {
  const { store, bucket, query, settings } = call
  const [
    prefix, delimiter, keyMarker
  ] = [queryValue(call, 'prefix') ?? '', queryValue(call, 'delimiter') ?? '', queryValue(call, 'key-marker') ?? '']
  const versionMarker = queryValue(call, 'version-id-marker') ?? ''
  if (versionMarker !== '' && keyMarker === '') {
    throw new S3Error('InvalidArgument', 'A version-id marker cannot be specified without a key marker.', {
      ArgumentName: 'version-id-marker',
      ArgumentValue: versionMarker
    })
  }
  const limit = pageLimit(query, 'max-keys')
  const { encodingType, encode } = nameEncoder(query)
  const page = rollUp(start => store.objects(bucket, start), { prefix, delimiter, after: keyMarker, limit })
  const next = page.truncated ? page.last : undefined
  return xmlReply(xmlDocument('ListVersionsResult', {
    Name: bucket,
    Prefix: encode(prefix),
    KeyMarker: encode(keyMarker),
    VersionIdMarker: versionMarker,
    NextKeyMarker: next === undefined ? undefined : encode(next),
    NextVersionIdMarker: next !== undefined && next === page.items.at(-1)?.key ? 'null' : undefined,
    MaxKeys: limit,
    Delimiter: delimiter === '' ? undefined : encode(delimiter),
    EncodingType: encodingType,
    IsTruncated: page.truncated,
    Version: page.items.map(record => ({
      Key: encode(record.key),
      VersionId: 'null',
      IsLatest: true,
      LastModified: new Date(record.modifiedAt).toISOString(),
      ETag: quoted(record.etag),
      ChecksumAlgorithm: record.checksum?.algorithm,
      ChecksumType: record.checksum?.type,
      Size: record.size,
      Owner: { ID: settings.ownerId },
      StorageClass: 'STANDARD'
    })),
    CommonPrefixes: page.prefixes.map(common => ({ Prefix: encode(common) }))
  }))
}
