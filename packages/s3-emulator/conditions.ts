import { S3Error } from './errors.js'
import type { ObjectRecord } from './records.js'

type Headers = ReadonlyMap<string, string>

export function quoted (etag: string): string {
  return `"${etag}"`
}

/**
 * RFC 9110 §13.2.2 as S3 applies it to reads: returns `not-modified`, throws PreconditionFailed.
 * `prefix` is `x-amz-copy-source-` for the source of a copy.
 */
export function readCondition (headers: Headers, record: ObjectRecord, prefix = ''): 'proceed' | 'not-modified' {
  const value = (name: string): string | undefined => headers.get(`${prefix}${name}`)
  const [match, noneMatch] = [value('if-match'), value('if-none-match')]
  const [modifiedSince, unmodifiedSince] = [dateOf(value('if-modified-since')), dateOf(value('if-unmodified-since'))]
  if (match !== undefined) {
    if (!listsTag(match, record.etag)) throw failed('If-Match')
  } else if (unmodifiedSince !== undefined && record.modifiedAt > unmodifiedSince) {
    throw failed('If-Unmodified-Since')
  }
  if (noneMatch !== undefined) return listsTag(noneMatch, record.etag) ? 'not-modified' : 'proceed'
  return modifiedSince !== undefined && record.modifiedAt <= modifiedSince ? 'not-modified' : 'proceed'
}

/**
 * Returns the check to run against the current object (S3 user guide, "Conditional writes"). Throws NotImplemented at
 * once for forms that S3 does not take.
 */
export function writeCondition (headers: Headers): (current: ObjectRecord | undefined) => void {
  const [match, noneMatch] = [headers.get('if-match'), headers.get('if-none-match')]
  if ((noneMatch !== undefined && noneMatch !== '*') || (match !== undefined && noneMatch !== undefined)) {
    throw new S3Error('NotImplemented', undefined, { Header: 'If-None-Match' })
  }
  return current => {
    if (noneMatch !== undefined && current !== undefined) throw failed('If-None-Match')
    if (match === undefined) return
    if (current === undefined) throw new S3Error('NoSuchKey')
    if (!listsTag(match, current.etag)) throw failed('If-Match')
  }
}

/** S3 user guide, "Conditional deletes". Those of size and time belong to directory buckets and cost nothing here. */
export function deleteCondition (
  { etag, size, modifiedAt }: { etag?: string | undefined, size?: string | undefined, modifiedAt?: string | undefined }
): (current: ObjectRecord) => void {
  return current => {
    if (etag !== undefined && !listsTag(etag, current.etag)) throw failed('If-Match')
    if (size !== undefined && Number(size) !== current.size) throw failed('x-amz-if-match-size')
    if (modifiedAt !== undefined && Date.parse(modifiedAt) !== current.modifiedAt) {
      throw failed('x-amz-if-match-last-modified-time')
    }
  }
}

/** Reads one range as S3 does (RFC 9110 §14.2): several and malformed ones are ignored. Throws InvalidRange. */
export function parseRange (header: string | undefined, size: number): { start: number, end: number } | undefined {
  const match = /^bytes=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(header ?? '')
  if (match === null || (match[1] === '' && match[2] === '')) return undefined
  const first = match[1] === '' ? Math.max(size - Number(match[2]), 0) : Number(match[1])
  const last = match[1] === '' || match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1)
  if (match[1] !== '' && match[2] !== '' && Number(match[2]) < first) return undefined
  if (first >= size) {
    throw new S3Error('InvalidRange', undefined, { RangeRequested: header ?? '', ActualObjectSize: size }, {
      'content-range': `bytes */${size}`
    })
  }
  return { start: first, end: last + 1 }
}

function listsTag (list: string, etag: string): boolean {
  return list.split(',').map(tag => tag.trim().replace(/^W\//, '').replace(/^"(.*)"$/, '$1')).some(tag =>
    tag === '*' || tag === etag)
}

function dateOf (text: string | undefined): number | undefined {
  const time = text === undefined ? NaN : Date.parse(text)
  return Number.isNaN(time) ? undefined : time
}

function failed (condition: string): S3Error {
  return new S3Error('PreconditionFailed', undefined, { Condition: condition })
}
