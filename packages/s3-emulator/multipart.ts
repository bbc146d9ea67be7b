import { createHash, randomBytes } from 'node:crypto'
import { checkLength } from './body.js'
import { quoted, secondsNow, xmlReply, type Call, type Reply } from './call.js'
import { S3Error } from './errors.js'
import { keptHeaders } from './headers.js'
import { ingest, MAX_PUT } from './ingest.js'
import { encodeUri } from './names.js'
import type { PartRecord } from './records.js'
import { childText, parseXml, xmlDocument, type XmlElement } from './xml.js'

const MIN_PART = 5 * 1024 ** 2
const MAX_PARTS = 10_000

interface Listed { partNumber: number, etag: string }

export async function createMultipartUpload ({ store, bucket, key, headers, settings }: Call): Promise<Reply> {
  // The id sorts by age, and so do listings of one key.
  const uploadId = settings.now().getTime().toString(16).padStart(12, '0') + randomBytes(24).toString('hex')
  store.createUpload({ bucket, key, uploadId, initiatedAt: secondsNow(settings), headers: keptHeaders(headers) })
  return xmlReply(xmlDocument('InitiateMultipartUploadResult', { Bucket: bucket, Key: key, UploadId: uploadId }))
}

export async function uploadPart ({ store, bucket, key, query, headers, body }: Call): Promise<Reply> {
  const text = query.get('partNumber') ?? ''
  const partNumber = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (partNumber < 1 || partNumber > MAX_PARTS) {
    throw new S3Error('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive')
  }
  const upload = store.upload(bucket, key, query.get('uploadId') ?? '')
  checkLength(headers, body, MAX_PUT)
  const md5 = await ingest(store, body.bytes(), headers, ({ blob, size, md5 }) =>
    store.putPart(upload, { partNumber, etag: md5, size, blob }))
  return { status: 200, headers: { etag: quoted(md5) } }
}

export async function abortMultipartUpload ({ store, bucket, key, query }: Call): Promise<Reply> {
  store.abortUpload(bucket, key, query.get('uploadId') ?? '')
  return { status: 204 }
}

/**
 * Joins the listed parts into an object without copying them; it appears at once. A repeated request gets the same
 * answer while that object exists.
 */
export async function completeMultipartUpload (call: Call): Promise<Reply> {
  const { store, bucket, key, headers, query, body, settings } = call
  const listed = parseListed((await body.whole()).toString())
  const uploadId = query.get('uploadId') ?? ''
  const etag = joinedEtag(listed)
  const upload = store.findUpload(bucket, key, uploadId)
  const record = upload === undefined
    ? store.object(bucket, key)
    : store.completeUpload(upload, stored => {
      const parts = chooseParts(stored, listed)
      return {
        key,
        etag,
        size: parts.reduce((sum, part) => sum + part.size, 0),
        modifiedAt: secondsNow(settings),
        pieces: parts.map(({ blob, size }) => ({ blob, size })),
        headers: upload.headers,
        uploadId
      }
    })
  if (record?.uploadId !== uploadId || record.etag !== etag) {
    throw new S3Error('NoSuchUpload', undefined, { UploadId: uploadId })
  }
  return xmlReply(xmlDocument('CompleteMultipartUploadResult', {
    Location: `http://${headers.get('host') ?? ''}/${bucket}/${encodeUri(key)}`,
    Bucket: bucket,
    Key: key,
    ETag: quoted(etag)
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
  return { partNumber: Number(number), etag: etag.replace(/^"(.*)"$/, '$1') }
}

/** Throws InvalidPartOrder, InvalidPart, EntityTooSmall. */
function chooseParts (stored: PartRecord[], listed: Listed[]): PartRecord[] {
  const byNumber = new Map(stored.map(part => [part.partNumber, part]))
  if (listed.some(({ partNumber }, index) => index > 0 && partNumber <= listed[index - 1]!.partNumber)) {
    throw new S3Error('InvalidPartOrder')
  }
  return listed.map(({ partNumber, etag }, index) => {
    const part = byNumber.get(partNumber)
    if (part?.etag !== etag) throw new S3Error('InvalidPart', undefined, { PartNumber: partNumber, ETag: etag })
    if (part.size < MIN_PART && index < listed.length - 1) {
      throw new S3Error('EntityTooSmall', undefined, { PartNumber: partNumber, ETag: etag })
    }
    return part
  })
}

function joinedEtag (parts: Listed[]): string {
  const md5 = createHash('md5')
  for (const { etag } of parts) md5.update(Buffer.from(etag, 'hex'))
  return `${md5.digest('hex')}-${parts.length}`
}
