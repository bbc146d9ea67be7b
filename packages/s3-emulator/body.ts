import { createHash } from 'node:crypto'
import type { Payload } from './auth.js'
import { decodeChunks } from './aws-chunked.js'
import { S3Error } from './errors.js'
import { equalText } from './signature.js'
import type { Target } from './target.js'

const MAX_DOCUMENT = 2 * 1024 * 1024

/** The decoded bytes of a request. They can be read once. */
export interface Body {
  /** Known length after decoding; undefined when none was declared. */
  readonly length: number | undefined
  /** Filled when `bytes` has ended. */
  readonly trailers: ReadonlyMap<string, string>
  /** Fails at its end when the bytes do not match what was announced (hash, length, signatures). */
  bytes (): AsyncGenerator<Buffer>
  /** The whole body, for small documents. Throws MaxMessageLengthExceeded. */
  text (onChunk?: (chunk: Buffer) => void): Promise<string>
}

export function openBody (target: Target, payload: Payload, source: AsyncIterable<Buffer>): Body {
  const trailers = new Map<string, string>()
  const length = declaredLength(target, payload)

  async function * bytes (): AsyncGenerator<Buffer> {
    const decoded = payload.kind === 'plain'
      ? source
      : decodeChunks(source, {
        signer: payload.signer,
        trailer: payload.trailer,
        onTrailer: (name, value) => { trailers.set(name, value) }
      })
    const hash = payload.kind === 'plain' && payload.sha256 !== undefined ? createHash('sha256') : undefined
    let received = 0
    for await (const chunk of decoded) {
      received += chunk.length
      if (length !== undefined && received > length) throw new S3Error('IncompleteBody')
      hash?.update(chunk)
      yield chunk
    }
    if (length !== undefined && received !== length) throw new S3Error('IncompleteBody')
    if (hash !== undefined && payload.kind === 'plain') checkHash(payload.sha256 ?? '', hash.digest('hex'))
  }

  async function text (onChunk?: (chunk: Buffer) => void): Promise<string> {
    if ((length ?? 0) > MAX_DOCUMENT) throw new S3Error('MaxMessageLengthExceeded')
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of bytes()) {
      size += chunk.length
      if (size > MAX_DOCUMENT) throw new S3Error('MaxMessageLengthExceeded')
      onChunk?.(chunk)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString()
  }

  return { length, trailers, bytes, text }
}

/**
 * Throws MissingContentLength where S3 requires a length (objects and parts), NotImplemented for a bare chunked coding.
 */
export function requireLength (target: Target, body: Body, limit: number): number {
  if (body.length === undefined) {
    if (target.headers.has('transfer-encoding')) {
      throw new S3Error('NotImplemented', 'A header you provided implies functionality that is not implemented', {
        Header: 'Transfer-Encoding'
      })
    }
    throw new S3Error('MissingContentLength')
  }
  if (body.length > limit) {
    throw new S3Error('EntityTooLarge', undefined, { ProposedSize: body.length, MaxSizeAllowed: limit })
  }
  return body.length
}

function declaredLength (target: Target, payload: Payload): number | undefined {
  const name = payload.kind === 'chunks' ? 'x-amz-decoded-content-length' : 'content-length'
  const text = target.headers.get(name)
  if (text === undefined) {
    if (payload.kind === 'chunks') throw new S3Error('MissingContentLength')
    return undefined
  }
  if (!/^\d{1,15}$/.test(text)) {
    throw new S3Error('InvalidArgument', undefined, { ArgumentName: name, ArgumentValue: text })
  }
  return Number(text)
}

function checkHash (declared: string, computed: string): void {
  if (!equalText(declared, computed)) {
    throw new S3Error('XAmzContentSHA256Mismatch', undefined, {
      ClientComputedContentSHA256: declared,
      S3ComputedContentSHA256: computed
    })
  }
}
