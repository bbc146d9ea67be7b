import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { encodeUri } from './names.js'
import type { Target } from './target.js'

/** AWS Signature Version 4 for S3: no path normalisation, no double encoding. */
export const EMPTY_SHA256 = createHash('sha256').digest('hex')

export interface Scope { date: string, region: string, service: string }

/** All strings here hold one character for each byte received, so headers are hashed as they came. */
export function canonicalRequest (target: Target, signedHeaders: readonly string[], payloadHash: string): string {
  const query = target.query
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [encodeUri(name), encodeUri(value)] as const)
    .sort(([a, x], [b, y]) => compare(a, b) || compare(x, y))
    .map(([name, value]) => `${name}=${value}`)
  const headers = signedHeaders.map(name => `${name}:${(target.headers.get(name) ?? '').replace(/ +/g, ' ')}\n`)
  return [
    target.method,
    encodeUri(target.path, true),
    query.join('&'),
    headers.join(''),
    signedHeaders.join(';'),
    payloadHash
  ].join(
    '\n'
  )
}

export function stringToSign (timestamp: string, scope: Scope, request: string): string {
  const hash = createHash('sha256').update(request, 'latin1').digest('hex')
  return ['AWS4-HMAC-SHA256', timestamp, scopeText(scope), hash].join('\n')
}

export function scopeText ({ date, region, service }: Scope): string {
  return `${date}/${region}/${service}/aws4_request`
}

export function signingKey (secret: string, { date, region, service }: Scope): Buffer {
  return hmac(hmac(hmac(hmac(Buffer.from(`AWS4${secret}`), date), region), service), 'aws4_request')
}

export function sign (key: Buffer, text: string): string {
  return hmac(key, text).toString('hex')
}

/** Compares in constant time; lengths are no secret. */
export function equalText (given: string, expected: string): boolean {
  const a = Buffer.from(given)
  const b = Buffer.from(expected)
  return a.length === b.length && timingSafeEqual(a, b)
}

/**
 * The chain of chunk signatures of a STREAMING-AWS4-HMAC-SHA256-PAYLOAD[-TRAILER] body, seeded by the request's own.
 */
export class ChunkSigner {
  #previous: string

  constructor (readonly key: Buffer, readonly timestamp: string, readonly scope: Scope, seed: string) {
    this.#previous = seed
  }

  acceptsChunk (signature: string, dataHash: string): boolean {
    return this.#accepts(
      signature,
      ['AWS4-HMAC-SHA256-PAYLOAD', this.timestamp, scopeText(this.scope), this.#previous, EMPTY_SHA256, dataHash]
    )
  }

  acceptsTrailer (signature: string, trailer: string): boolean {
    const hash = createHash('sha256').update(trailer, 'latin1').digest('hex')
    return this.#accepts(
      signature,
      ['AWS4-HMAC-SHA256-TRAILER', this.timestamp, scopeText(this.scope), this.#previous, hash]
    )
  }

  #accepts (signature: string, lines: string[]): boolean {
    const expected = sign(this.key, lines.join('\n'))
    this.#previous = expected
    return equalText(signature, expected)
  }
}

function hmac (key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function compare (a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
