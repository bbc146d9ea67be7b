import type { Readable } from 'node:stream'
import { FieldError, fileTooLarge, invalidMultipart, missingUserId, noFilePart, noSelectedFile, sentences, ServiceError, unsupportedFileType } from './errors.js'

/** One part of a multipart form, in the order of the wire; a file must be read to its end before the next part comes. */
export type FormPart =
  | { type: 'field', name: string, value: unknown, truncated: boolean }
  | { type: 'file', name: string, filename: string, file: Readable & { truncated?: boolean } }

/** What came of the one file: stored, or why not. Nothing is stored of one that is not. */
export type FileOutcome<Stored> = { stored: Stored } | { refused: 'unsupported' | 'too large' }

export interface UploadFields {
  user_id: string
  category?: string
  title?: string
}

const LONGEST = 255
const OPTIONAL = ['category', 'title'] as const
type FieldValues = Map<string, unknown>

/**
 * Reads an upload's form: its fields in any order around one `file`, which goes to `store` as it arrives.
 * Of several faults the first of the contract's list wins: malformed, no file part, no selected file, `user_id`,
 * other fields, unsupported, too large; what stands before the file is judged at the file's start.
 * Rejects with that fault, or with what `store` rejects with; then the caller has to remove what was stored.
 */
export async function readUploadForm<Stored> (
  form: AsyncIterable<FormPart>,
  limit: number,
  store: (file: Readable & { truncated?: boolean }) => Promise<FileOutcome<Stored>>
): Promise<{ fields: UploadFields, stored: Stored }> {
  const values: FieldValues = new Map()
  let files = 0
  let outcome: FileOutcome<Stored> | undefined
  let whole = true
  try {
    for await (const part of form) {
      if (part.type === 'field') {
        values.set(part.name, part.truncated ? undefined : part.value)
        continue
      }
      if (++files > 1) throw invalidMultipart()
      if (part.name !== 'file') {
        part.file.resume()
        continue
      }
      if (part.filename === '') throw noSelectedFile()
      judgeFields(values, values.has('user_id'))
      outcome = await store(part.file)
    }
  } catch (error) {
    const refused = files > 0 && !(outcome && 'stored' in outcome)
    if (!(refused && isTooLong(error))) throw error
    whole = false
  }
  if (!outcome) throw noFilePart()
  const fields = judgeFields(values, whole || values.has('user_id'))
  if ('stored' in outcome) return { fields, stored: outcome.stored }
  throw outcome.refused === 'unsupported' ? unsupportedFileType() : fileTooLarge(limit)
}

/** Whether a form is too long to be read to its end; then what is known of it decides. */
const isTooLong = (error: unknown) => error instanceof ServiceError && error.statusCode === 413

function judgeFields (values: FieldValues, complete: boolean): UploadFields {
  const userId = values.get('user_id')
  if (complete && !isLabel(userId)) throw missingUserId()
  const wrong = OPTIONAL.filter(name => values.has(name) && !isLabel(values.get(name)))
  if (wrong.length > 0) throw new FieldError(Object.fromEntries(wrong.map(name => [name, [fault(values.get(name))]])))
  return { user_id: String(userId), ...Object.fromEntries(OPTIONAL.filter(name => values.has(name)).map(name => [name, values.get(name)])) }
}

const isLabel = (value: unknown): value is string =>
  typeof value === 'string' && value.trim() !== '' && [...value].length <= LONGEST && !/\p{Cs}/u.test(value)

function fault (value: unknown): string {
  if (value !== undefined && typeof value !== 'string') return sentences.type('string')
  return sentences.length(1, LONGEST)
}
