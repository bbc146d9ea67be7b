import { randomBytes } from 'node:crypto'
import { requireLength } from './body.js'
import { secondsNow, xmlReply, type Call, type Reply } from './call.js'
import { isAlgorithm, type Algorithm, type ChecksumType } from './checksums.js'
import { parseRange, quoted, readCondition } from './conditions.js'
import { copySource } from './copy-source.js'
import { describe } from './describe.js'
import { S3Error } from './errors.js'
import {
  adopt,
  announcedChecksum,
  checksumHeaders,
  createVerifier,
  ingest,
  unsupportedAlgorithm,
  type Verified
} from './ingest.js'
import type { UploadRecord } from './records.js'
import { queryValue } from './target.js'
import { xmlDocument } from './xml.js'

const MAX_PART = 5 * 1024 ** 3

export async function createMultipartUpload (call: Call): Promise<Reply> {
  const { store, bucket, key, headers, settings } = call
  const upload: UploadRecord = {
    bucket,
    key,
    uploadId: newUploadId(settings.now()),
    initiatedAt: secondsNow(settings),
    ...describe(headers),
    ...wantedChecksum(headers)
  }
  store.createUpload(upload)
  return xmlReply(
    xmlDocument('InitiateMultipartUploadResult', { Bucket: bucket, Key: key, UploadId: upload.uploadId }),
    {
      'x-amz-checksum-algorithm': upload.algorithm, 'x-amz-checksum-type': upload.checksumType
    }
  )
}

export async function uploadPart (call: Call): Promise<Reply> {
  const { body, headers } = call
  const { upload, partNumber } = addressedPart(call)
  requireLength(call, body, MAX_PART)
  const announced = announcedChecksum(headers)?.algorithm
  if (announced !== undefined && upload.algorithm !== undefined && announced !== upload.algorithm) {
    throw new S3Error(
      'InvalidRequest',
      `Checksum Type mismatch occurred, expected checksum Type: ${upload.algorithm.toLowerCase()}, actual checksum Type: ${announced.toLowerCase()}`
    )
  }
  const part = await storePart(call, upload, partNumber, body.bytes(), { headers, trailers: body.trailers })
  return {
    status: 200,
    headers: { etag: quoted(part.md5), ...checksumHeaders(part.checksum), 'x-amz-checksum-type': undefined }
  }
}

export async function uploadPartCopy (call: Call): Promise<Reply> {
  const { store, headers } = call
  const { upload, partNumber } = addressedPart(call)
  const { record } = copySource(call)
  if (readCondition(headers, record, 'x-amz-copy-source-') === 'not-modified') throw new S3Error('PreconditionFailed')
  const { start, end } = copyRange(headers.get('x-amz-copy-source-range'), record.size)
  const release = store.blobs.hold(record.pieces)
  try {
    const bytes = store.blobs.read(record.pieces, start, end)
    const part = await storePart(call, upload, partNumber, bytes, { headers: new Map(), trailers: new Map() })
    return xmlReply(xmlDocument('CopyPartResult', {
      LastModified: new Date(secondsNow(call.settings)).toISOString(),
      ETag: quoted(part.md5),
      ...(part.checksum && { [`Checksum${part.checksum.algorithm}`]: part.checksum.value })
    }))
  } finally {
    release()
  }
}

export async function abortMultipartUpload (call: Call): Promise<Reply> {
  call.store.abortUpload(call.bucket, call.key, queryValue(call, 'uploadId') ?? '')
  return { status: 204 }
}

async function storePart (
  call: Call,
  upload: UploadRecord,
  partNumber: number,
  bytes: AsyncIterable<Uint8Array>,
  sent: Parameters<typeof createVerifier>[0]
): Promise<Verified> {
  const { blob, size, md5, checksum } = await ingest(call.store, bytes, createVerifier(sent, upload.algorithm))
  adopt(call.store, blob, () => call.store.putPart(upload, {
    partNumber, etag: md5, size, blob, modifiedAt: secondsNow(call.settings), ...(checksum && { checksum })
  }))
  return { md5, ...(checksum && { checksum }) }
}

function addressedPart (call: Call): { upload: UploadRecord, partNumber: number } {
  const text = queryValue(call, 'partNumber') ?? ''
  const partNumber = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (partNumber < 1 || partNumber > 10_000) {
    throw new S3Error('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive', {
      ArgumentName: 'partNumber',
      ArgumentValue: text
    })
  }
  return { upload: call.store.upload(call.bucket, call.key, queryValue(call, 'uploadId') ?? ''), partNumber }
}

/** The id sorts by age, and so do listings of one key. */
function newUploadId (now: Date): string {
  const time = now.getTime().toString(16).padStart(12, '0')
  return time + randomBytes(24).toString('hex')
}

function wantedChecksum (headers: ReadonlyMap<string, string>): { algorithm?: Algorithm, checksumType?: ChecksumType } {
  const algorithm = headers.get('x-amz-checksum-algorithm')?.toUpperCase()
  const type = headers.get('x-amz-checksum-type')?.toUpperCase()
  if (algorithm === undefined) {
    if (type !== undefined) {
      throw new S3Error(
        'InvalidRequest',
        'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.'
      )
    }
    return {}
  }
  if (!isAlgorithm(algorithm)) throw unsupportedAlgorithm()
  const checksumType = type ?? (algorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE')
  if (checksumType !== 'COMPOSITE' && checksumType !== 'FULL_OBJECT') {
    throw new S3Error('InvalidRequest', 'Value for x-amz-checksum-type header is invalid.')
  }
  if (algorithm.startsWith('SHA')
    ? checksumType === 'FULL_OBJECT'
    : algorithm === 'CRC64NVME' && checksumType === 'COMPOSITE') {
    throw new S3Error(
      'InvalidRequest',
      `The ${checksumType} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`
    )
  }
  return { algorithm, checksumType }
}

function copyRange (header: string | undefined, size: number): { start: number, end: number } {
  if (header === undefined) return { start: 0, end: size }
  const range = /^bytes=\d+-\d+$/.test(header) ? parseRange(header, size) : undefined
  if (range === undefined || Number(header.split('-')[1]) !== range.end - 1) {
    throw new S3Error(
      'InvalidArgument',
      'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy',
      { ArgumentName: 'x-amz-copy-source-range', ArgumentValue: header }
    )
  }
  return range
}
