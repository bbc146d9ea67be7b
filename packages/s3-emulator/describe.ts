import type { Call } from './call.js'
import { S3Error } from './errors.js'
import type { Description } from './records.js'

export const SYSTEM_HEADERS = [
  'content-type', 'cache-control', 'content-disposition', 'content-encoding', 'content-language', 'expires'
] as const
const MAX_METADATA = 2048
const DEFAULT_TYPE = 'binary/octet-stream'

/** The headers and metadata of a written object. `aws-chunked` belongs to the transfer and is not kept. */
export function describe (headers: ReadonlyMap<string, string>): Description {
  const kept: Record<string, string> = {}
  for (const name of SYSTEM_HEADERS) {
    const value = headers.get(name)
    if (value !== undefined && value !== '') kept[name] = value
  }
  const encoding = withoutAwsChunked(kept['content-encoding'] ?? '')
  if (encoding === '') delete kept['content-encoding']
  else kept['content-encoding'] = encoding
  kept['content-type'] ??= DEFAULT_TYPE
  return { headers: kept, metadata: userMetadata(headers) }
}

/**
 * Throws for features that are not served here: encryption with keys, ACLs, tags, locks, other storage classes. So no
 * wish of a client is dropped in silence.
 */
export function refuseUnsupported (headers: Call['headers']): void {
  for (const [name, value] of headers) {
    if (/^x-amz-(server-side-encryption-|copy-source-server-side|tagging|object-lock-|website-redirect|expected-bucket-owner$|source-expected-bucket-owner$|write-offset|mfa$|grant-|rename-)/.test(
      name
    ) ||
      (name === 'x-amz-server-side-encryption' && value !== 'AES256')) {
      throw new S3Error('NotImplemented', undefined, { Header: name })
    }
  }
  const acl = headers.get('x-amz-acl')
  if (acl !== undefined && acl !== 'private' && acl !== 'bucket-owner-full-control') {
    throw new S3Error('AccessControlListNotSupported')
  }
  const storageClass = headers.get('x-amz-storage-class')
  if (storageClass !== undefined && storageClass !== 'STANDARD') {
    throw new S3Error('InvalidStorageClass', undefined, { StorageClassRequested: storageClass })
  }
}

function withoutAwsChunked (encoding: string): string {
  return encoding.replace(/(^|,)\s*aws-chunked\s*(?=,|$)/gi, '').replace(/^\s*,?\s*/, '')
}

function userMetadata (headers: ReadonlyMap<string, string>): Record<string, string> {
  const entries = [...headers].filter(([name]) => name.startsWith('x-amz-meta-')).map(([name, value]) =>
    [name.slice(11), value] as const)
  const size = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  if (size > MAX_METADATA) {
    throw new S3Error('MetadataTooLarge', undefined, { Size: size, MaxSizeAllowed: MAX_METADATA })
  }
  return Object.fromEntries(entries)
}
