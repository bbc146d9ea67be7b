import { createHash } from 'node:crypto'
import { secondsNow, xmlReply, type Call, type Reply } from './call.js'
import { checksumHeader, compositeChecksum, createDigest, type Algorithm } from './checksums.js'
import { quoted, writeCondition } from './conditions.js'
import { S3Error } from './errors.js'
import { announcedChecksum } from './ingest.js'
import { encodeUri } from './names.js'
import type { Checksum, ObjectRecord, PartRecord, Piece, UploadRecord } from './records.js'
import { queryValue } from './target.js'
import { childText, parseXml, xmlDocument, type XmlElement } from './xml.js'

const MIN_PART = 5 * 1024 ** 2
const MAX_PARTS = 10_000

interface Listed { partNumber: number, etag: string, checksum: (algorithm: Algorithm) => string | undefined }

/**
 * Joins the listed parts into an object without copying them; it appears at once. A repeated request gets the same
 * answer while that object exists.
 */
export async function completeMultipartUpload (call: Call): Promise<Reply> {
  const { store, bucket, key, headers, body } = call
  const listed = parseListed(await body.text())
  const uploadId = queryValue(call, 'uploadId') ?? ''
  const upload = findUpload(call, uploadId)
  if (upload === undefined) return repeated(call, uploadId, listed)
  const check = writeCondition(headers)
  check(store.object(bucket, key))
  const chosen = chooseParts(upload, store.parts(uploadId), listed)
  const checksum = await objectChecksum(call, upload, chosen)
  verifyAnnounced(call, chosen, checksum)
  const record = store.completeUpload(upload, parts => {
    // Another request may have replaced a part while its bytes were read.
    const now = chooseParts(upload, parts, listed)
    if (now.some((part, index) => part.blob !== chosen[index]?.blob)) throw new S3Error('InvalidPart')
    return assemble(call, upload, chosen, checksum)
  }, check)
  return completed(call, record)
}

function findUpload ({ store, bucket, key }: Call, uploadId: string): UploadRecord | undefined {
  try {
    return store.upload(bucket, key, uploadId)
  } catch (error) {
    if (store.object(bucket, key)?.uploadId === uploadId) return undefined
    throw error
  }
}

function repeated (call: Call, uploadId: string, listed: Listed[]): Reply {
  const record = call.store.object(call.bucket, call.key)
  if (record === undefined || record.etag !== joinedEtag(listed.map(part => part.etag))) {
    throw new S3Error('NoSuchUpload', undefined, { UploadId: uploadId })
  }
  return completed(call, record)
}

function completed (call: Call, { etag, checksum }: ObjectRecord): Reply {
  return xmlReply(xmlDocument('CompleteMultipartUploadResult', {
    Location: `http://${call.headers.get('host') ?? ''}/${call.bucket}/${encodeUri(call.key)}`,
    Bucket: call.bucket,
    Key: call.key,
    ETag: quoted(etag),
    ...(checksum && { [`Checksum${checksum.algorithm}`]: checksum.value, ChecksumType: checksum.type })
  }))
}

function parseListed (text: string): Listed[] {
  const root = parseXml(text)
  const parts = root.children.filter(child => child.name === 'Part')
  if (root.name !== 'CompleteMultipartUpload' || parts.length === 0 || parts.length > MAX_PARTS) {
    throw new S3Error('MalformedXML')
  }
  return parts.map(parseListedPart)
}

function parseListedPart (part: XmlElement): Listed {
  const number = childText(part, 'PartNumber')?.trim() ?? ''
  const etag = childText(part, 'ETag')?.trim()
  if (!/^\d{1,9}$/.test(number) || etag === undefined) throw new S3Error('MalformedXML')
  return {
    partNumber: Number(number),
    etag: etag.replace(/^"(.*)"$/, '$1'),
    checksum: algorithm => childText(part, `Checksum${algorithm}`)?.trim()
  }
}

function chooseParts (upload: UploadRecord, stored: PartRecord[], listed: Listed[]): PartRecord[] {
  const byNumber = new Map(stored.map(part => [part.partNumber, part]))
  if (listed.some((part, index) => index > 0 && part.partNumber <= (listed[index - 1]?.partNumber ?? 0))) {
    throw new S3Error('InvalidPartOrder', undefined, { UploadId: upload.uploadId })
  }
  return listed.map((wanted, index) => {
    const part = byNumber.get(wanted.partNumber)
    if (part === undefined || part.etag !== wanted.etag || !checksumFits(upload, part, wanted)) {
      throw new S3Error('InvalidPart', undefined, {
        UploadId: upload.uploadId,
        PartNumber: wanted.partNumber,
        ETag: wanted.etag
      })
    }
    if (part.size < MIN_PART && index < listed.length - 1) {
      throw new S3Error('EntityTooSmall', undefined, {
        ProposedSize: part.size,
        MinSizeAllowed: MIN_PART,
        PartNumber: part.partNumber,
        ETag: part.etag
      })
    }
    return part
  })
}

function checksumFits ({ algorithm, checksumType }: UploadRecord, part: PartRecord, wanted: Listed): boolean {
  if (part.checksum === undefined) return true
  const given = wanted.checksum(part.checksum.algorithm)
  if (given === undefined && algorithm !== undefined && checksumType === 'COMPOSITE') {
    throw new S3Error(
      'InvalidRequest',
      `The upload was created using a ${algorithm.toLowerCase()} checksum. The complete request must include the checksum for each part. It was missing for part ${part.partNumber} in the request.`
    )
  }
  return given === undefined || given === part.checksum.value
}

async function objectChecksum (
  { store }: Call,
  { algorithm, checksumType }: UploadRecord,
  parts: PartRecord[]
): Promise<
  | Checksum
  | undefined> {
  if (algorithm === undefined || checksumType === undefined) return undefined
  if (checksumType === 'COMPOSITE') {
    return {
      algorithm,
      type: checksumType,
      value: compositeChecksum(algorithm, parts.map(part => part.checksum?.value ?? ''))
    }
  }
  const pieces = piecesOf(parts)
  const release = store.blobs.hold(pieces)
  const digest = createDigest(algorithm)
  try {
    for await (const chunk of store.blobs.read(pieces, 0, sizeOf(parts))) digest.update(chunk)
  } finally {
    release()
  }
  return { algorithm, type: checksumType, value: digest.digest().toString('base64') }
}

/** Checks the parts against what the request says about the whole object. */
function verifyAnnounced ({ headers }: Call, parts: PartRecord[], checksum: Checksum | undefined): void {
  const size = headers.get('x-amz-mp-object-size')
  if (size !== undefined && Number(size) !== sizeOf(parts)) {
    throw new S3Error(
      'InvalidRequest',
      'The provided \'x-amz-mp-object-size\' header value does not match the object size.'
    )
  }
  if (checksum === undefined) return
  const given = headers.get(checksumHeader(checksum.algorithm))
  if (given === undefined) announcedChecksum(headers)
  else if (given !== checksum.value) {
    throw new S3Error('BadDigest', `The ${checksum.algorithm} you specified did not match the calculated checksum.`)
  }
}

function assemble (
  call: Call,
  upload: UploadRecord,
  parts: PartRecord[],
  checksum: Checksum | undefined
): ObjectRecord {
  return {
    key: upload.key,
    etag: joinedEtag(parts.map(part => part.etag)),
    size: sizeOf(parts),
    modifiedAt: secondsNow(call.settings),
    pieces: piecesOf(parts),
    headers: upload.headers,
    metadata: upload.metadata,
    uploadId: upload.uploadId,
    ...(checksum && { checksum })
  }
}

function joinedEtag (etags: string[]): string {
  const md5 = createHash('md5')
  for (const etag of etags) md5.update(Buffer.from(etag, 'hex'))
  return `${md5.digest('hex')}-${etags.length}`
}

function piecesOf (parts: PartRecord[]): Piece[] {
  return parts.map(({ blob, size, partNumber, checksum }) => ({
    blob,
    size,
    partNumber,
    ...(checksum && { checksum: checksum.value })
  }))
}

function sizeOf (parts: PartRecord[]): number {
  return parts.reduce((sum, part) => sum + part.size, 0)
}
