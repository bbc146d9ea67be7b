import { xmlReply, type Call, type Reply } from './call.js'
import { parseRange, quoted, readCondition } from './conditions.js'
import { SYSTEM_HEADERS } from './describe.js'
import { S3Error } from './errors.js'
import { checksumHeaders } from './ingest.js'
import type { Checksum, ObjectRecord, Piece } from './records.js'
import { queryValue } from './target.js'
import { xmlDocument, type Content } from './xml.js'

const MAX_PARTS_PAGE = 1000

interface Stretch {
  start: number
  end: number
  status: 200 | 206
  headers: Record<string, string | number>
  checksum?: Checksum | undefined
}

/** GetObject and HeadObject: conditions, then one range or one part, then the bytes as a stream. */
export async function getObject (call: Call): Promise<Reply> {
  const { store, headers } = call
  const record = existing(call)
  const overrides = responseOverrides(call)
  const tags = { etag: quoted(record.etag), 'last-modified': new Date(record.modifiedAt).toUTCString() }
  if (readCondition(headers, record) === 'not-modified') {
    return { status: 304, headers: { ...tags, 'cache-control': record.headers['cache-control'] } }
  }
  const stretch = stretchOf(call, record)
  const metadata = Object.entries(record.metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])
  const wantsChecksum = headers.get('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED'
  return {
    status: stretch.status,
    headers: {
      ...tags,
      'accept-ranges': 'bytes',
      ...record.headers,
      ...Object.fromEntries(metadata),
      ...(wantsChecksum ? checksumHeaders(stretch.checksum) : {}),
      ...stretch.headers,
      ...overrides
    },
    body: { length: stretch.end - stretch.start, bytes: store.blobs.read(record.pieces, stretch.start, stretch.end) },
    release: store.blobs.hold(record.pieces)
  }
}

export async function getObjectAttributes (call: Call): Promise<Reply> {
  const record = existing(call)
  const wanted = (call.headers.get('x-amz-object-attributes') ?? '').split(',').map(name => name.trim())
  const known: Record<string, Content> = {
    ETag: record.etag,
    Checksum: record.checksum &&
      { [`Checksum${record.checksum.algorithm}`]: record.checksum.value, ChecksumType: record.checksum.type },
    ObjectParts: record.uploadId === undefined ? undefined : objectParts(call, record),
    StorageClass: 'STANDARD',
    ObjectSize: record.size
  }
  if (wanted.some(name => !(name in known))) {
    throw new S3Error('InvalidArgument', 'Invalid attribute name specified.', {
      ArgumentName: 'x-amz-object-attributes'
    })
  }
  const chosen = Object.fromEntries(Object.entries(known).filter(([name]) => wanted.includes(name)))
  return xmlReply(xmlDocument('GetObjectAttributesResponse', chosen), {
    'last-modified': new Date(record.modifiedAt).toUTCString()
  })
}

/** Lists the parts only for objects that have checksums, as S3 does. */
function objectParts ({ headers }: Call, { pieces, checksum }: ObjectRecord): Content {
  const [
    limit, marker
  ] = [
    attributeNumber(headers, 'x-amz-max-parts', MAX_PARTS_PAGE),
    attributeNumber(headers, 'x-amz-part-number-marker', 0)
  ]
  if (checksum === undefined) return { PartsCount: pieces.length }
  const rest = pieces.filter(({ partNumber = 1 }) => partNumber > marker)
  const page = rest.slice(0, Math.min(limit, MAX_PARTS_PAGE))
  return {
    PartsCount: pieces.length,
    PartNumberMarker: marker,
    NextPartNumberMarker: page.at(-1)?.partNumber ?? 0,
    MaxParts: limit,
    IsTruncated: rest.length > page.length,
    Part: page.map(piece => ({
      PartNumber: piece.partNumber,
      Size: piece.size,
      [`Checksum${checksum.algorithm}`]: piece.checksum
    }))
  }
}

function attributeNumber (headers: Call['headers'], name: string, otherwise: number): number {
  const text = headers.get(name)
  if (text === undefined) return otherwise
  if (!/^\d{1,9}$/.test(text)) {
    throw new S3Error('InvalidArgument', `Provided ${name} not an integer or within integer range`, {
      ArgumentName: name,
      ArgumentValue: text
    })
  }
  return Number(text)
}

/** A caller that may not list must not learn which keys exist. */
function existing ({ store, bucket, key, allows }: Call): ObjectRecord {
  const record = store.object(bucket, key)
  if (record !== undefined) return record
  throw allows('s3:ListBucket') ? new S3Error('NoSuchKey', undefined, { Key: key }) : new S3Error('AccessDenied')
}

function stretchOf (call: Call, record: ObjectRecord): Stretch {
  const range = ifRangeHolds(call, record) ? call.headers.get('range') : undefined
  const partNumber = queryValue(call, 'partNumber')
  if (partNumber !== undefined) {
    if (range !== undefined) {
      throw new S3Error('InvalidRequest', 'Cannot specify both Range header and partNumber query parameter')
    }
    return partStretch(record, partNumber)
  }
  const part = parseRange(range, record.size)
  return part === undefined
    ? { start: 0, end: record.size, status: 200, headers: {}, checksum: record.checksum }
    : partial(part, record.size)
}

function partStretch (record: ObjectRecord, text: string): Stretch {
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < 1 || number > 10_000) {
    throw new S3Error('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive', {
      ArgumentName: 'partNumber',
      ArgumentValue: text
    })
  }
  const isPart = (piece: Piece): boolean => (piece.partNumber ?? 1) === number
  const at = record.pieces.findIndex(isPart)
  const piece = record.pieces[at]
  if (piece === undefined) {
    throw new S3Error('InvalidPartNumber', undefined, {
      PartNumberRequested: number,
      ActualPartCount: record.pieces.length
    })
  }
  const start = record.pieces.slice(0, at).reduce((sum, { size }) => sum + size, 0)
  const count: Record<string, number> = record.uploadId === undefined
    ? {}
    : { 'x-amz-mp-parts-count': record.pieces.length }
  const value = piece.partNumber === undefined ? record.checksum?.value : piece.checksum
  const checksum = record.checksum && value !== undefined ? { ...record.checksum, value } : undefined
  if (record.size === 0) return { start: 0, end: 0, status: 200, headers: count, checksum }
  const stretch = partial({ start, end: start + piece.size }, record.size)
  return { ...stretch, headers: { ...stretch.headers, ...count }, checksum }
}

function partial ({ start, end }: { start: number, end: number }, size: number): Stretch {
  return { start, end, status: 206, headers: { 'content-range': `bytes ${start}-${end - 1}/${size}` } }
}

/** RFC 9110 §13.1.5: a range of another version is useless, so the whole object is sent. */
function ifRangeHolds ({ headers }: Call, record: ObjectRecord): boolean {
  const validator = headers.get('if-range')
  return validator === undefined || validator === quoted(record.etag) || Date.parse(validator) === record.modifiedAt
}

function responseOverrides (call: Call): Record<string, string> {
  const given = SYSTEM_HEADERS.flatMap(name => {
    const value = queryValue(call, `response-${name}`)
    return value === undefined ? [] : [[name, value] as const]
  })
  if (given.length > 0 && call.identity.principal === 'anonymous') {
    throw new S3Error('InvalidRequest', 'Request specific response headers cannot be used for anonymous GET requests.')
  }
  return Object.fromEntries(given)
}
