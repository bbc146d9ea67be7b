import { createHash } from 'node:crypto'
import { Transform, type TransformCallback } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import type { Fingerprint } from '../../schemas/documents.js'
import { invalidMultipart, isTooLarge, ServiceError } from '../errors.js'
import { keyedHash } from '../keyed-hash.js'
import type { FormPart } from '../ports.js'

type Field = Extract<FormPart, { type: 'field' }>
type File = Extract<FormPart, { type: 'file' }>

/**
 * Tells request bodies apart. JSON: by its members, in any order and with any white space. A form: by its parts in the
 * order of the wire, each by name, file name and bytes or value. A retry does not reorder parts, and the last of two
 * fields with one name counts. The boundary and the content types have no effect, as nothing here uses them.
 */
export function createFingerprints (secret: string) {
  const name = (parts: string[]) => keyedHash(secret, 'body', parts.join('\n'))
  return { ofJson, isForm, watch }

  function ofJson (body: unknown): Fingerprint {
    return { digest: name([canonical(body)]) }
  }

  /**
   * Passes a form on, and knows its fingerprint once it was read to its end. Undefined for one that was not: it was
   * malformed, cut off, too long, or refused before its end.
   */
  function watch (form: AsyncIterable<FormPart>): {
    form: AsyncGenerator<FormPart, void, undefined>
    fingerprint: () => Promise<Fingerprint | undefined>
  } {
    const parts: Array<Field | File & { file: HashedFile }> = []
    let isWhole = false
    return { form: watched(), fingerprint }

    async function * watched (): AsyncGenerator<FormPart, void, undefined> {
      for await (const part of form) {
        const seen = part.type === 'file' ? { ...part, file: new HashedFile(part.file) } : part
        parts.push(seen)
        yield seen
      }
      isWhole = true
    }

    async function fingerprint (): Promise<Fingerprint | undefined> {
      if (!isWhole) return undefined
      const files = parts.flatMap(part => part.type === 'file' ? part.file : [])
      await Promise.all(files.map(drain))
      return files.every(file => file.writableFinished)
        ? { digest: name(parts.map(part => part.type === 'field' ? fieldText(part) : fileText(part, part.file.seen))) }
        : undefined
    }
  }

  /** Reads a form, and says whether it has this fingerprint. 400 when it is malformed. */
  async function isForm (form: AsyncIterable<FormPart>, { digest }: Fingerprint): Promise<boolean> {
    const texts: string[] = []
    try {
      for await (const part of form) {
        texts.push(part.type === 'field' ? fieldText(part) : fileText(part, await readFile(part)))
      }
    } catch (error) {
      if (isTooLarge(error)) return false
      throw error instanceof ServiceError ? error : invalidMultipart(error)
    }
    return name(texts) === digest
  }
}

/** A file on its way to its reader, hashed as it passes. */
class HashedFile extends Transform {
  readonly seen = new Content()
  readonly #source: File['file']

  constructor (source: File['file']) {
    super()
    this.#source = source
    pipeline(source, this).catch(() => {}) // its reader gets the error
  }

  get truncated (): boolean {
    return this.#source.truncated === true
  }

  get minBytes (): number | undefined {
    return this.#source.minBytes
  }

  get maxBytes (): number | undefined {
    return this.#source.maxBytes
  }

  override _transform (chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.seen.add(chunk)
    done(null, chunk)
  }
}

class Content {
  bytes = 0
  readonly #hash = createHash('sha256')

  add (chunk: Buffer): void {
    this.bytes += chunk.length
    this.#hash.update(chunk)
  }

  sha256 (): string {
    return this.#hash.copy().digest('hex')
  }
}

/** Lets a file end. Drops the bytes that its reader left. */
async function drain (file: HashedFile): Promise<void> {
  file.removeAllListeners('readable').resume()
  await finished(file).catch(() => {})
}

async function readFile ({ file }: File): Promise<Content> {
  const content = new Content()
  for await (const chunk of file as AsyncIterable<Buffer>) content.add(chunk)
  return content
}

const fieldText = ({ name, value, truncated }: Field) => canonical([name, value, truncated])
const fileText = ({ name, filename }: File, content: Content) => canonical([
  name,
  filename,
  content.bytes,
  content.sha256()
])

/**
 * The same text for the same JSON value, and for no other: each array and object begins with its length. Any depth
 * works, because there is no recursion.
 */
function canonical (value: unknown): string {
  const tokens: string[] = []
  const todo = [value]
  while (todo.length > 0) {
    const next = todo.pop()
    if (typeof next !== 'object' || next === null) {
      tokens.push(JSON.stringify(next) ?? 'undefined')
      continue
    }
    const members = Array.isArray(next) ? next : Object.entries(next).sort(([a], [b]) => a < b ? -1 : 1).flat()
    tokens.push(`${Array.isArray(next) ? '[' : '{'}${members.length}`)
    for (const member of members.toReversed()) todo.push(member)
  }
  return tokens.join(' ')
}
