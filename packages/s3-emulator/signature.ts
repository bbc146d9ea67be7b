import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { encodeUri } from './names.js'
import type { Target } from './target.js'

/** AWS Signature Version 4 for S3: no path normalisation, no double encoding. */
export interface Scope { date: string, region: string }

/** All strings here hold one character for each byte received, so headers are hashed as they came. */
export function canonicalRequest (target: Target, signedHeaders: readonly string[], payloadHash: string): string {
  const query = [...target.query]
    .map(([name, value]) => [encodeUri(name), encodeUri(value)] as const)
    .sort(([a], [b]) => a < b ? -1 : 1)
    .map(([name, value]) => `${name}=${value}`)
  const headers = signedHeaders.map(name => `${name}:${(target.headers.get(name) ?? '').replace(/ +/g, ' ')}\n`)
  return [
    target.method,
    encodeUri(target.path, true),
    query.join('&'),
    headers.join(''),
    signedHeaders.join(';'),
    payloadHash
  ].join('\n')
}

export function stringToSign (timestamp: string, { date, region }: Scope, request: string): string {
  const hash = createHash('sha256').update(request, 'latin1').digest('hex')
  return ['AWS4-HMAC-SHA256', timestamp, `${date}/${region}/s3/aws4_request`, hash].join('\n')
}

/** Signs with the key that the secret and the scope make. */
export function sign (secret: string, { date, region }: Scope, text: string): string {
  const key = [date, region, 's3', 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secret}`)
  return hmac(key, text).toString('hex')
}

/** Compares in constant time; lengths are no secret. */
export function equalText (given: string, expected: string): boolean {
  const a = Buffer.from(given)
  const b = Buffer.from(expected)
  return a.length === b.length && timingSafeEqual(a, b)
}

function hmac (key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
