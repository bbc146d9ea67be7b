import type { UploadedFields } from '../../schemas/documents.js'
import { FITS, type Fit } from '../../schemas/library.js'
import {
  damagedImage,
  FieldError,
  fileTooLarge,
  invalidMultipart,
  isTooLarge,
  missingUserId,
  noFilePart,
  noSelectedFile,
  sentences,
  unsupportedFileType
} from '../errors.js'
import type { FormFile, FormPart } from '../ports.js'

/** The outcome of the file: stored, or why it was refused. Nothing may remain of a refused file. */
export type FileOutcome<Stored> =
  | { stored: Stored }
  | { refused: 'malformed' | 'unsupported' | 'too large' | 'damaged' }

export const MAX_LABEL = 255
const OPTIONAL = ['category', 'title'] as const
const REFUSALS = {
  malformed: () => invalidMultipart(),
  unsupported: unsupportedFileType,
  'too large': fileTooLarge,
  damaged: damagedImage
}
type FieldValues = Map<string, unknown>

/**
 * Reads an upload's form: its fields in any order around one `file`, which goes to `store` as it arrives. If there are
 * several faults, the first of the contract's list wins: malformed, no file part, no selected file, `user_id`, other
 * fields, unsupported, too large, damaged. Fields before the file are checked when the file starts. Rejects with that
 * fault, or with the error of `store`. Then the caller has to remove what was stored.
 */
export async function readUploadForm<Stored> (
  form: AsyncIterable<FormPart>,
  limit: number,
  store: (file: FormFile) => Promise<FileOutcome<Stored>>
): Promise<{ fields: UploadedFields, stored: Stored }> {
  const values: FieldValues = new Map()
  let files = 0
  let file: FormFile | undefined
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
      validateFields(values, values.has('user_id'))
      file = part.file
      outcome = await store(file)
    }
  } catch (error) {
    const refused = files > 0 && !(outcome && 'stored' in outcome)
    // a form too long to be read to its end is checked by the parts that were read
    if (!(refused && isTooLarge(error))) throw error
    whole = false
  }
  if (!outcome) throw noFilePart()
  const fields = validateFields(values, whole || values.has('user_id'))
  if ('stored' in outcome) return { fields, stored: outcome.stored }
  throw REFUSALS[outcome.refused === 'damaged' && (file?.truncated || !whole) ? 'too large' : outcome.refused](limit)
}

function validateFields (values: FieldValues, complete: boolean): UploadedFields {
  const userId = values.get('user_id')
  if (complete && !isLabel(userId)) throw missingUserId()
  const isSent = (name: string) => values.has(name) && !isBlank(values.get(name))
  const faults = Object.fromEntries([
    ...OPTIONAL.filter(name => isSent(name) && !isLabel(values.get(name))).map(name =>
      [name, [fault(values.get(name))]]),
    ...(isSent('fit') && !isFit(values.get('fit')) ? [['fit', [sentences.oneOf(FITS)]]] : [])
  ])
  if (Object.keys(faults).length > 0) throw new FieldError(faults)
  return uploadedFields({
    user_id: userId,
    category: values.get('category'),
    title: values.get('title'),
    fit: values.get('fit')
  })
}

/** Picks the members to store from checked fields, and drops all others. */
export const uploadedFields = ({
  user_id: userId,
  category,
  title,
  fit
}: Partial<Record<keyof UploadedFields, unknown>>): UploadedFields => ({
  user_id: String(userId),
  ...(category !== undefined && !isBlank(category) && { category: String(category) }),
  ...(title !== undefined && !isBlank(title) && { title: String(title) }),
  ...(isFit(fit) && { fit })
})

/** Whether a value may be a label of a file. It is stored as sent. */
export const isLabel = (value: unknown): value is string =>
  typeof value === 'string' && value.trim() !== '' && [...value].length <= MAX_LABEL && !/\p{Cs}/u.test(value)

/** Generated clients and HTML forms send empty fields for missing ones. */
const isBlank = (value: unknown) => typeof value === 'string' && value.trim() === ''

/** Removes blank members from a JSON body, before it is validated. */
export function dropBlank (body: unknown): void {
  if (typeof body !== 'object' || body === null) return
  const members = body as Record<string, unknown>
  for (const name of [...OPTIONAL, 'type', 'fit']) if (isBlank(members[name])) delete members[name]
}

const isFit = (value: unknown): value is Fit => FITS.some(fit => fit === value)

function fault (value: unknown): string {
  if (value !== undefined && typeof value !== 'string') return sentences.type('string')
  return sentences.length(1, MAX_LABEL)
}
