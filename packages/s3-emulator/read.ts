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
  // A range of another version is useless: with If-Range (RFC 9110 §13.1.5) the whole object is sent.
  const range = headers.has('if-range') ? undefined : parseRange(headers.get('range'), record.size)
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

/** RFC 9110 §13.2.2: a tag decides, and a date only where there is none. */
function isUnmodified (headers: Call['headers'], { etag, modifiedAt }: ObjectRecord): boolean {
  const tags = headers.get('if-none-match')
  if (tags === undefined) return modifiedAt <= Date.parse(headers.get('if-modified-since') ?? '')
  return tags.split(',').map(tag => tag.trim().replace(/^W\//, '')).some(tag => tag === '*' || tag === quoted(etag))
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
