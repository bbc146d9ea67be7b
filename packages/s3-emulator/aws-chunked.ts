import { createHash } from 'node:crypto'
import { ByteReader } from './byte-reader.js'
import { S3Error } from './errors.js'
import type { ChunkSigner } from './signature.js'

const MAX_LINE = 4096
const MIN_CHUNK = 8192

export interface ChunkOptions {
  signer: ChunkSigner | undefined
  trailer: boolean
  /** Called for each trailing header, after the last byte. */
  onTrailer: (name: string, value: string) => void
}

/**
 * Decodes the `aws-chunked` content coding (S3 API reference, "Signature calculations for the Authorization header:
 * transferring payload in multiple chunks"). Bytes are yielded before the signature of their chunk arrives, so they are
 * valid only when the generator has ended. Throws IncompleteBody, InvalidChunkSizeError, SignatureDoesNotMatch,
 * MalformedTrailerError.
 */
export async function * decodeChunks (
  source: AsyncIterable<Buffer>,
  { signer, trailer, onTrailer }: ChunkOptions
): AsyncGenerator<Buffer> {
  const reader = new ByteReader(source)
  let shortChunk = false
  for (;;) {
    const { size, signature } = await chunkHead(reader)
    if (size > 0 && shortChunk) throw new S3Error('InvalidChunkSizeError')
    shortChunk = size < MIN_CHUNK
    const hash = signer && createHash('sha256')
    const bytes = reader.bytes(size)
    for (;;) {
      const { done, value } = await bytes.next()
      if (done === true) {
        if (!value) throw new S3Error('IncompleteBody')
        break
      }
      hash?.update(value)
      yield value
    }
    if (signer !== undefined && hash !== undefined && !signer.acceptsChunk(signature, hash.digest('hex'))) {
      throw new S3Error('SignatureDoesNotMatch')
    }
    if (size === 0) break
    if (await reader.line(1) !== '') throw new S3Error('IncompleteBody')
  }
  await readTrailer(reader, signer, trailer, onTrailer)
  await reader.skip()
}

async function chunkHead (reader: ByteReader): Promise<{ size: number, signature: string }> {
  const line = await reader.line(MAX_LINE)
  const match = /^([0-9a-fA-F]{1,10})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line?.trim() ?? '')
  if (match === null) throw new S3Error('IncompleteBody')
  return { size: parseInt(match[1]!, 16), signature: match[2] ?? '' }
}

async function readTrailer (
  reader: ByteReader,
  signer: ChunkSigner | undefined,
  expected: boolean,
  onTrailer: ChunkOptions['onTrailer']
): Promise<void> {
  let signed = ''
  let signature: string | undefined
  for (let lines = 0, blank = 0; blank < 2 && lines < 32; lines++) {
    const line = (await reader.line(MAX_LINE))?.trim()
    if (line === undefined) break
    if (line === '') {
      blank++
      continue
    }
    const colon = line.indexOf(':')
    if (colon < 1 || !expected) throw new S3Error('MalformedTrailerError')
    const name = line.slice(0, colon).trim().toLowerCase()
    const value = line.slice(colon + 1).trim()
    if (name === 'x-amz-trailer-signature') {
      signature = value
    } else {
      signed += `${name}:${value}\n`
      onTrailer(name, value)
    }
  }
  if (expected && signer !== undefined && !signer.acceptsTrailer(signature ?? '', signed)) {
    throw new S3Error('SignatureDoesNotMatch')
  }
}
