import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { Body } from './body.js'
import { S3Error } from './errors.js'
import type { Store } from './store.js'
import type { Target } from './target.js'

/** The largest object of one request, and the largest part. */
export const MAX_PUT = 5 * 1024 ** 3
const CHECKSUM = 'x-amz-checksum-crc32'

interface Stored { blob: string, size: number, md5: string }

/**
 * Streams the bytes into a new blob, checked against the checksum in the headers, and runs `commit`, which gives the
 * blob its name. Leaves no blob when one of both fails. Returns the MD5 of the bytes.
 */
export async function ingest (
  store: Store,
  bytes: AsyncIterable<Buffer>,
  headers: Target['headers'],
  commit: (stored: Stored) => void
): Promise<string> {
  const md5 = createHash('md5')
  const verifier = createVerifier(headers)
  async function * checked (): AsyncGenerator<Buffer> {
    for await (const chunk of bytes) {
      md5.update(chunk)
      verifier.update(chunk)
      yield chunk
    }
    verifier.finish()
  }
  const stored = { ...await store.blobs.write(checked()), md5: md5.digest('hex') }
  try {
    commit(stored)
  } catch (error) {
    store.blobs.discard([stored.blob])
    throw error
  }
  return stored.md5
}

/** The text of a small document, checked against its checksum. S3 requires one. */
export async function verifiedText (headers: Target['headers'], body: Body): Promise<string> {
  if (!headers.has(CHECKSUM)) {
    throw new S3Error('InvalidRequest', `Missing required header for this request: ${CHECKSUM}`)
  }
  const bytes = await body.whole()
  const verifier = createVerifier(headers)
  verifier.update(bytes)
  verifier.finish()
  return bytes.toString()
}

/** Checks bytes against the checksum in the headers, if there is one. Throws BadDigest at their end. */
function createVerifier (headers: Target['headers']): { update (chunk: Buffer): void, finish (): void } {
  const announced = headers.get(CHECKSUM)
  let sum = 0
  return {
    update (chunk) { if (announced !== undefined) sum = crc32(chunk, sum) },
    finish () {
      const computed = Buffer.alloc(4)
      computed.writeUInt32BE(sum)
      if (announced !== undefined && announced !== computed.toString('base64')) {
        throw new S3Error('BadDigest', 'The CRC32 you specified did not match the calculated checksum.')
      }
    }
  }
}
