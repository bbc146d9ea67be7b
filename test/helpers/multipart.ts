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

/** A form for `fetch` that uploads this file. */
export function uploadForm (
  content: Uint8Array,
  { filename = 'picture', fields = { user_id: 'meera' } }: { filename?: string, fields?: Record<string, string> } = {}
): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  form.append('file', new Blob([content]), filename)
  return form
}

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
