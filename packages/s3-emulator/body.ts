import { createHash } from 'node:crypto'
import { S3Error } from './errors.js'
import { equalText } from './signature.js'
import type { Target } from './target.js'

const MAX_DOCUMENT = 2 * 1024 * 1024

/** The bytes of a request. They can be read once. */
export interface Body {
  /** undefined when no length was declared. */
  readonly length: number | undefined
  /** Fails at its end when the bytes do not match what was announced (hash, length). */
  bytes (): AsyncGenerator<Buffer>
  /** The whole body, for small documents. Throws MaxMessageLengthExceeded. */
  whole (): Promise<Buffer>
}

export function openBody (headers: Target['headers'], sha256: string | undefined, source: AsyncIterable<Buffer>): Body {
  const declared = headers.get('content-length')
  const length = declared === undefined ? undefined : Number(declared)

  async function * bytes (): AsyncGenerator<Buffer> {
    const hash = createHash('sha256')
    let received = 0
    for await (const chunk of source) {
      received += chunk.length
      if (sha256 !== undefined) hash.update(chunk)
      yield chunk
    }
    if (length !== undefined && received !== length) throw new S3Error('IncompleteBody')
    if (sha256 === undefined) return
    if (!equalText(sha256, hash.digest('hex'))) throw new S3Error('XAmzContentSHA256Mismatch')
  }

  async function whole (): Promise<Buffer> {
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of bytes()) {
      size += chunk.length
      if (size > MAX_DOCUMENT) throw new S3Error('MaxMessageLengthExceeded')
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }

  return { length, bytes, whole }
}

/**
 * Throws MissingContentLength where S3 requires a length (objects and parts), NotImplemented for a chunked coding,
 * EntityTooLarge.
 */
export function checkLength (headers: Target['headers'], { length }: Body, limit: number): void {
  if (length === undefined) {
    throw headers.has('transfer-encoding')
      ? new S3Error('NotImplemented', undefined, { Header: 'Transfer-Encoding' })
      : new S3Error('MissingContentLength')
  }
  if (length > limit) {
    throw new S3Error('EntityTooLarge', undefined, { ProposedSize: length, MaxSizeAllowed: limit })
  }
}
