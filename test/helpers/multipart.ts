export const BOUNDARY = '----hookaba7MA4YWxkTrZu0gW'

export const FORM_TYPE = `multipart/form-data; boundary=${BOUNDARY}`

/** One part: its header lines, and its content. */
export type Part = { headers: Array<string | Buffer>, content: string | Buffer }

export const field = (name: string, value: string | Buffer, ...headers: string[]): Part =>
  ({ headers: [`Content-Disposition: form-data; name="${name}"`, ...headers], content: value })

export const file = (
  content: string | Buffer,
  { name = 'file', filename = 'fox.gif', type = 'image/gif' } = {}
): Part =>
  ({
    headers: [`Content-Disposition: form-data; name="${name}"; filename="${filename}"`, `Content-Type: ${type}`],
    content
  })

/** A multipart body on the wire. */
export function form (
  parts: Part[],
  {
    boundary = BOUNDARY,
    preamble = '',
    end = `\r\n--${boundary}--\r\n`
  }: { boundary?: string, preamble?: string | Buffer, end?: string | Buffer } = {}
): Buffer {
  const bytes = parts.flatMap(({ headers, content }, i) => [
    `${i > 0 || preamble !== '' ? '\r\n' : ''}--${boundary}\r\n`,
    ...headers.flatMap(header => [header, '\r\n']),
    '\r\n',
    content
  ])
  return Buffer.concat([preamble, ...bytes, end].map(piece => typeof piece === 'string' ? Buffer.from(piece) : piece))
}
