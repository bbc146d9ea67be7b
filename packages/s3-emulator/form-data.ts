import { ByteReader } from './byte-reader.js'
import { S3Error } from './errors.js'

const MAX_FIELDS_BYTES = 20_000
const MAX_LINE = 4096

export interface Form {
  /** Lower-case names, as S3 compares them. */
  fields: Map<string, string>
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
    const name = await fieldName(reader)
    if (name === 'file') return { fields, file: fileBytes(reader, delimiter) }
    const chunks: Buffer[] = []
    size += name.length
    for await (const chunk of whole(reader.until(delimiter))) {
      size += chunk.length
      if (size > MAX_FIELDS_BYTES) throw new S3Error('MaxPostPreDataLengthExceededError')
      chunks.push(chunk)
    }
    fields.set(name, Buffer.concat(chunks).toString())
    const rest = await reader.line(MAX_LINE)
    if (rest === undefined || rest.startsWith('--')) {
      throw new S3Error('InvalidArgument', 'POST requires exactly one file upload per request.')
    }
  }
}

async function * fileBytes (reader: ByteReader, delimiter: Buffer): AsyncGenerator<Buffer> {
  yield * whole(reader.until(delimiter))
  await reader.skip()
}

/** Reads the head of a field. */
async function fieldName (reader: ByteReader): Promise<string> {
  let name: string | undefined
  for (let lines = 0; lines < 16; lines++) {
    const line = await reader.line(MAX_LINE)
    if (line === undefined || (line === '' && name === undefined)) break
    if (line === '') return Buffer.from(name!, 'latin1').toString().toLowerCase()
    name ??= /^content-disposition\s*:.*?;\s*name="([^"]*)"/i.exec(line)?.[1]
  }
  throw new S3Error('MalformedPOSTRequest')
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
