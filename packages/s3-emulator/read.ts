import { quoted, type Call, type Reply } from './call.js'
import { S3Error } from './errors.js'
import type { ObjectRecord } from './records.js'

/** GetObject and HeadObject: conditions, then one range, then the bytes as a stream. */
export async function getObject ({ store, bucket, key, headers, isOwner }: Call): Promise<Reply> {
  const record = store.object(bucket, key)
  if (record === undefined) {
    // A caller that may not list must not learn which keys exist.
    throw isOwner ? new S3Error('NoSuchKey', undefined, { Key: key }) : new S3Error('AccessDenied')
  }
  const tags = { etag: quoted(record.etag), 'last-modified': new Date(record.modifiedAt).toUTCString() }
  if (isUnmodified(headers, record)) {
    return { status: 304, headers: { ...tags, 'cache-control': record.headers['cache-control'] } }
  }
  const range = isOfRange(headers, record) ? parseRange(headers.get('range'), record.size) : undefined
  const { start, end } = range ?? { start: 0, end: record.size }
  return {
    status: range === undefined ? 200 : 206,
    headers: {
      ...tags,
      'accept-ranges': 'bytes',
      ...record.headers,
      'content-range': range && `bytes ${start}-${end - 1}/${record.size}`
    },
    body: { length: end - start, bytes: store.blobs.read(record.pieces, start, end) },
    release: store.blobs.hold(record.pieces)
  }
}

/** RFC 9110 §13.2.2 as S3 applies it to reads. Throws PreconditionFailed. */
function isUnmodified (headers: Call['headers'], { etag, modifiedAt }: ObjectRecord): boolean {
  const [match, noneMatch] = [headers.get('if-match'), headers.get('if-none-match')]
  const [since, unmodifiedSince] = ['if-modified-since', 'if-unmodified-since'].map(name =>
    Date.parse(headers.get(name) ?? ''))
  if (match === undefined ? modifiedAt > unmodifiedSince! : !listsTag(match, etag)) {
    throw new S3Error('PreconditionFailed', undefined, {
      Condition: match === undefined ? 'If-Unmodified-Since' : 'If-Match'
    })
  }
  return noneMatch === undefined ? modifiedAt <= since! : listsTag(noneMatch, etag)
}

/** RFC 9110 §13.1.5: a range of another version is useless, so the whole object is sent. */
function isOfRange (headers: Call['headers'], { etag, modifiedAt }: ObjectRecord): boolean {
  const validator = headers.get('if-range')
  return validator === undefined || validator === quoted(etag) || Date.parse(validator) === modifiedAt
}

/** Reads one range as S3 does (RFC 9110 §14.2): several and malformed ones are ignored. Throws InvalidRange. */
function parseRange (header: string | undefined, size: number): { start: number, end: number } | undefined {
  const [, first = '', last = ''] = /^bytes=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(header ?? '') ?? []
  if (first === '' && last === '') return undefined
  const start = first === '' ? Math.max(size - Number(last), 0) : Number(first)
  const end = first === '' || last === '' ? size : Math.min(Number(last) + 1, size)
  if (first !== '' && last !== '' && Number(last) < start) return undefined
  if (start >= size) {
    throw new S3Error('InvalidRange', undefined, { RangeRequested: header ?? '', ActualObjectSize: size }, {
      'content-range': `bytes */${size}`
    })
  }
  return { start, end }
}

function listsTag (list: string, etag: string): boolean {
  return list.split(',').map(tag => tag.trim().replace(/^W\//, '').replace(/^"(.*)"$/, '$1')).some(tag =>
    tag === '*' || tag === etag)
}
