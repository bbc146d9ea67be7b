import { createHash } from 'node:crypto'
import type { Body } from './body.js'
import {
  ALGORITHMS,
  checksumHeader,
  createDigest,
  isAlgorithm,
  isBase64,
  isChecksum,
  type Algorithm
} from './checksums.js'
import { S3Error } from './errors.js'
import type { Checksum } from './records.js'
import type { Store } from './store.js'

export interface Verified { md5: string, checksum?: Checksum }

export interface Verifier {
  update (chunk: Uint8Array): void
  /** Must be called after the last byte, when the trailers are there. */
  finish (): Verified
}

interface Sent { headers: ReadonlyMap<string, string>, trailers: ReadonlyMap<string, string> }

/**
 * Checks bytes against Content-MD5 and `x-amz-checksum-*`, sent before or after them. `algorithm` is computed even when
 * the client sends none. Throws InvalidDigest, BadDigest, InvalidRequest, MalformedTrailerError.
 */
export function createVerifier ({ headers, trailers }: Sent, algorithm?: Algorithm): Verifier {
  const contentMd5 = headers.get('content-md5')
  if (contentMd5 !== undefined && !isBase64(contentMd5, 16)) {
    throw new S3Error('InvalidDigest', undefined, { 'Content-MD5': contentMd5 })
  }
  const announced = announcedChecksum(headers)
  const computed = announced?.algorithm ?? algorithm
  const md5 = createHash('md5')
  const digest = computed && createDigest(computed)
  return {
    update (chunk) {
      md5.update(chunk)
      digest?.update(chunk)
    },
    finish () {
      const sum = md5.digest()
      if (contentMd5 !== undefined && sum.toString('base64') !== contentMd5) {
        throw new S3Error('BadDigest', 'The Content-MD5 you specified did not match what we received.')
      }
      if (computed === undefined || digest === undefined) return { md5: sum.toString('hex') }
      const value = digest.digest().toString('base64')
      if (announced !== undefined && expectedValue(announced, trailers) !== value) {
        throw new S3Error('BadDigest', `The ${computed} you specified did not match the calculated checksum.`)
      }
      return { md5: sum.toString('hex'), checksum: { algorithm: computed, type: 'FULL_OBJECT', value } }
    }
  }
}

/** Streams the bytes into a new blob and verifies them. Leaves nothing when it throws. */
export async function ingest (store: Store, bytes: AsyncIterable<Uint8Array>, verifier: Verifier): Promise<Verified & {
  blob: string
  size: number
}> {
  let verified: Verified | undefined
  async function * checked (): AsyncGenerator<Uint8Array> {
    for await (const chunk of bytes) {
      verifier.update(chunk)
      yield chunk
    }
    verified = verifier.finish()
  }
  const written = await store.blobs.write(checked())
  if (verified === undefined) throw new Error('A blob was kept that nobody verified')
  return { ...written, ...verified }
}

/** Runs `commit`, which gives the blob its name. Discards the blob when that fails. */
export function adopt (store: Store, blob: string, commit: () => void): void {
  try {
    commit()
  } catch (error) {
    store.blobs.discard([blob])
    throw error
  }
}

/** The text of a small document, checked against the checksums that came with it. */
export async function verifiedText (headers: ReadonlyMap<string, string>, body: Body): Promise<string> {
  const verifier = createVerifier({ headers, trailers: body.trailers })
  const text = await body.text(verifier.update)
  verifier.finish()
  return text
}

/** Response headers that repeat a checksum. */
export function checksumHeaders (checksum: Checksum | undefined): Record<string, string> {
  return checksum === undefined
    ? {}
    : { [checksumHeader(checksum.algorithm)]: checksum.value, 'x-amz-checksum-type': checksum.type }
}

interface Announced { algorithm: Algorithm, value: string | undefined }

/** The one checksum that the headers give or announce for the trailer. */
export function announcedChecksum (headers: ReadonlyMap<string, string>): Announced | undefined {
  const given = [...headers].filter(([name]) => /^x-amz-checksum-(?!algorithm$|type$|mode$)/.test(name))
  const promised = (headers.get('x-amz-trailer') ?? '').split(',').map(name => name.trim().toLowerCase()).filter(
    name => name.startsWith('x-amz-checksum-')
  )
  const names = [...given.map(([name]) => name), ...promised]
  if (names.length > 1) {
    throw new S3Error(
      'InvalidRequest',
      'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.'
    )
  }
  const named = headers.get('x-amz-sdk-checksum-algorithm')
  const [name] = names
  if (name === undefined) {
    if (named !== undefined) {
      throw new S3Error(
        'InvalidRequest',
        'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.'
      )
    }
    return undefined
  }
  const algorithm = name.slice('x-amz-checksum-'.length).toUpperCase()
  if (!isAlgorithm(algorithm)) throw unsupportedAlgorithm()
  if (named !== undefined && named.toUpperCase() !== algorithm) {
    throw new S3Error('InvalidRequest', 'Value for x-amz-sdk-checksum-algorithm header is invalid.')
  }
  const value = given[0]?.[1]
  if (value !== undefined && !isChecksum(algorithm, value)) {
    throw new S3Error('InvalidRequest', `Value for ${name} header is invalid.`)
  }
  return { algorithm, value }
}

export function unsupportedAlgorithm (): S3Error {
  return new S3Error(
    'InvalidRequest',
    `Checksum algorithm provided is unsupported. Please try again with any of the valid types: [${ALGORITHMS.join(', ')}]`
  )
}

function expectedValue ({ algorithm, value }: Announced, trailers: ReadonlyMap<string, string>): string {
  if (value !== undefined) return value
  const trailing = trailers.get(checksumHeader(algorithm))
  if (trailing === undefined) throw new S3Error('MalformedTrailerError')
  if (!isChecksum(algorithm, trailing)) {
    throw new S3Error('InvalidRequest', `Value for ${checksumHeader(algorithm)} trailing header is invalid.`)
  }
  return trailing
}
