import type { UploadedFields } from '../../schemas/documents.js'
import { FITS, type Fit } from '../../schemas/library.js'
import {
  FieldError,
  fileTooLarge,
  invalidMultipart,
  isDamage,
  isTooLarge,
  missingUserId,
  noFilePart,
  noSelectedFile,
  sentences
} from '../errors.js'
import { isLabel, MAX_LABEL } from '../library/label.js'
import type { FormFile, FormPart } from '../ports.js'

const OPTIONAL = ['category', 'title'] as const
type FieldValues = Map<string, unknown>

/**
 * Reads an upload's form: its fields in any order around one `file`. If there are several faults, the first of the
 * contract's list is reported: malformed, no file part, no selected file, `user_id`, other fields, unsupported, too
 * large, damaged.
 */
export function readForm (form: AsyncIterable<FormPart>, limit: number) {
  const parts = form[Symbol.asyncIterator]()
  const values: FieldValues = new Map()
  let files = 0
  let file: FormFile | undefined
  return { findFile, readRest, firstFault }

  /** Reads on to the file, and checks the fields before it. Rejects with the fault. */
  async function findFile (): Promise<FormFile> {
    const part = await nextFile().catch((error: unknown) => {
      throw files > 0 && isTooLarge(error) ? noFilePart() : error
    })
    if (!part) throw noFilePart()
    if (part.filename === '') throw noSelectedFile()
    validateFields(values, values.has('user_id'))
    file = part.file
    return file
  }

  /** Reads what follows the file, and returns all fields. Rejects with the fault. */
  async function readRest (): Promise<UploadedFields> {
    await nextFile()
    return validateFields(values, true)
  }

  /** Reads what follows a refused file, and returns the first fault: the refusal, or one that precedes it. */
  async function firstFault (refusal: unknown): Promise<unknown> {
    try {
      await readRest()
    } catch (error) {
      if (!isTooLarge(error)) return error
      return faultOfUnfinished(refusal)
    }
    return isDamage(refusal) && file?.truncated ? fileTooLarge(limit) : refusal
  }

  /** A form too long to be read to its end is checked by the parts that were read. */
  function faultOfUnfinished (refusal: unknown): unknown {
    try {
      validateFields(values, values.has('user_id'))
      return isDamage(refusal) ? fileTooLarge(limit) : refusal
    } catch (error) {
      return error
    }
  }

  /** Collects the fields on the way. Undefined at the form's end. */
  async function nextFile (): Promise<Extract<FormPart, { type: 'file' }> | undefined> {
    for (let next = await parts.next(); !next.done; next = await parts.next()) {
      const part = next.value
      if (part.type === 'field') {
        values.set(part.name, part.truncated ? undefined : part.value)
        continue
      }
      if (++files > 1) throw invalidMultipart()
      if (part.name === 'file') return part
      part.file.resume()
    }
  }
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
