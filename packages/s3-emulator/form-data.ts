import { ByteReader } from './byte-reader.js'
import { S3Error } from './errors.js'

const MAX_FIELDS_BYTES = 20_000
const MAX_LINE = 4096

export interface Form {
  /** Lower-case names, as S3 compares them. */
  fields: Map<string, string>
  filename: string
  /** The bytes of the field `file`. Later fields are ignored. Throws MalformedPOSTRequest when the form is cut. */
  file: AsyncGenerator<Buffer>
}

/**
 * Reads a multipart/form-data body (RFC 7578) up to its file, which streams. Throws MalformedPOSTRequest,
 * MaxPostPreDataLengthExceededError, and InvalidArgument when there is no file.
 */
export async function readForm (contentType: string, source: AsyncIterable<Buffer>): Promise<Form> {
  const boundary = boundaryOf(contentType)
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
  const reader = new ByteReader(source)
  const fields = new Map<string, string>()
  let size = 0
  if ((await reader.line(MAX_LINE))?.trimEnd() !== `--${boundary}`) throw new S3Error('MalformedPOSTRequest')
  for (;;) {
    const { name, filename } = await partHead(reader)
    if (name === 'file') return { fields, filename, file: fileBytes(reader, delimiter) }
    const chunks: Buffer[] = []
    for await (const chunk of whole(reader.until(delimiter))) {
      size += chunk.length
      if (size > MAX_FIELDS_BYTES) throw new S3Error('MaxPostPreDataLengthExceededError')
      chunks.push(chunk)
    }
    size += name.length
    fields.set(name, Buffer.concat(chunks).toString())
    const rest = await reader.line(MAX_LINE)
    if (rest === undefined || rest.startsWith('--')) {
      throw new S3Error('InvalidArgument', 'POST requires exactly one file upload per request.', {
        ArgumentName: 'file',
        ArgumentValue: 0
      })
    }
  }
}

async function * fileBytes (reader: ByteReader, delimiter: Buffer): AsyncGenerator<Buffer> {
  yield * whole(reader.until(delimiter))
  await reader.skip()
}

async function partHead (reader: ByteReader): Promise<{ name: string, filename: string }> {
  let disposition = ''
  for (let lines = 0; ; lines++) {
    const line = await reader.line(MAX_LINE)
    if (line === undefined || lines > 16) throw new S3Error('MalformedPOSTRequest')
    if (line === '') break
    if (/^content-disposition\s*:/i.test(line)) disposition = line
  }
  const name = parameter(disposition, 'name')
  if (name === undefined) throw new S3Error('MalformedPOSTRequest')
  return { name: name.toLowerCase(), filename: parameter(disposition, 'filename') ?? '' }
}

function parameter (header: string, name: string): string | undefined {
  const match = new RegExp(`;\\s*${name}\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^;\\s]*))`, 'i').exec(header)
  const value = match?.[1]?.replace(/\\(["\\])/g, '$1').replaceAll('%22', '"') ?? match?.[2]
  return value === undefined ? undefined : Buffer.from(value, 'latin1').toString()
}

async function * whole (bytes: AsyncGenerator<Buffer, boolean>): AsyncGenerator<Buffer> {
  if (!(yield * bytes)) throw new S3Error('MalformedPOSTRequest')
}

function boundaryOf (contentType: string): string {
  if (!/^multipart\/form-data\b/i.test(contentType)) {
    throw new S3Error('PreconditionFailed', undefined, {
      Condition: 'Bucket POST must be of the enclosure-type multipart/form-data'
    })
  }
  const match = /;\s*boundary\s*=\s*(?:"([^"]{1,200})"|([^;\s]{1,200}))/i.exec(contentType)
  const boundary = match?.[1] ?? match?.[2]
  if (boundary === undefined) throw new S3Error('MalformedPOSTRequest')
  return boundary
}
