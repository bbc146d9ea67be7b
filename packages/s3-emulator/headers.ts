import { S3Error } from './errors.js'
import type { Target } from './target.js'

const KEPT = [
  'content-type', 'cache-control', 'content-disposition', 'content-encoding', 'content-language', 'expires'
]
const TAKEN = new Set([
  'x-amz-algorithm',
  'x-amz-checksum-algorithm',
  'x-amz-checksum-crc32',
  'x-amz-checksum-mode',
  'x-amz-content-sha256',
  'x-amz-credential',
  'x-amz-date',
  'x-amz-sdk-checksum-algorithm',
  'x-amz-signature',
  'x-amz-user-agent'
])

const REFUSED = new Set(['content-md5', 'if-match', 'if-unmodified-since'])

/** The headers that a written object keeps. */
export function keptHeaders (headers: Target['headers']): Record<string, string> {
  const given = KEPT.map(name => [name, headers.get(name)] as const).filter(([, value]) => value)
  return { 'content-type': 'binary/octet-stream', ...Object.fromEntries(given) }
}

/**
 * Throws NotImplemented for the headers of features that are not served here: copies, metadata, encryption, ACLs,
 * conditional writes, other checksums. So no wish of a client is dropped in silence.
 */
export function refuseUnsupported ({ method, headers }: Pick<Target, 'method' | 'headers'>): void {
  for (const [name, value] of headers) {
    const isTaken = name.startsWith('x-amz-')
      ? TAKEN.has(name) && (!name.endsWith('checksum-algorithm') || value === 'CRC32')
      : !REFUSED.has(name) && (name !== 'if-none-match' || method === 'GET' || method === 'HEAD')
    if (!isTaken) throw new S3Error('NotImplemented', undefined, { Header: name })
  }
}
