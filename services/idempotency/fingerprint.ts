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
   * Passes a form on, and knows the fingerprint of the part that was read. A refusal may come before a large file was
   * read: it is repeated for a form that begins the same. Undefined for a form that is malformed, cut off or too long
   * to be read, unless its file is too long.
   */
  function watch (form: AsyncIterable<FormPart>): {
    form: AsyncGenerator<FormPart, void, undefined>
    fingerprint: () => Promise<Fingerprint | undefined>
  } {
    const parts: Array<Field | File & { file: HashedFile }> = []
    let state: 'whole' | 'begun' | 'unreadable' = 'begun'
    return { form: watched(), fingerprint }

    async function * watched (): AsyncGenerator<FormPart, void, undefined> {
      try {
        for await (const part of form) {
          const seen = part.type === 'file' ? { ...part, file: new HashedFile(part.file) } : part
          parts.push(seen)
          yield seen
        }
        state = 'whole'
      } catch (error) {
        const last = parts.at(-1)
        if (!(isTooLarge(error) && last?.type === 'file' && last.file.truncated)) state = 'unreadable'
        throw error
      }
    }

    async function fingerprint (): Promise<Fingerprint | undefined> {
      const files = parts.filter(part => part.type === 'file').map(({ file }) => file)
      if (state === 'unreadable' || files.some(({ isBroken }) => isBroken)) return undefined
      if (state === 'whole') await Promise.all(files.map(letEnd))
      const cut = parts.findIndex(part => part.type === 'file' && !part.file.writableFinished)
      const known = cut === -1 ? parts : parts.slice(0, cut + 1)
      const last = known.at(-1)
      return {
        digest: name(known.map(part => part.type === 'field' ? fieldText(part) : fileText(part, part.file.seen))),
        ...((state !== 'whole' || cut !== -1) &&
          { up_to: { parts: known.length, bytes: last?.type === 'file' ? last.file.seen.bytes : 0 } })
      }
    }
  }

  /** Reads a form, no further than it has to, and says whether it has this fingerprint. 400 when it is malformed. */
  async function isForm (
    form: AsyncIterable<FormPart>,
    { digest, up_to: upTo = { parts: Infinity, bytes: 0 } }: Fingerprint
  ): Promise<boolean> {
    const texts: string[] = []
    if (upTo.parts === 0) return name(texts) === digest
    try {
      for await (const part of form) {
        const isLast = texts.length + 1 === upTo.parts
        const max = isLast ? upTo.bytes : Infinity
        texts.push(part.type === 'field' ? fieldText(part) : fileText(part, await readFile(part, max)))
        if (isLast) break
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
  /** Whether the source failed; a reader that has enough may end it too. */
  isBroken = false
  readonly #source: File['file']

  constructor (source: File['file']) {
    super()
    this.#source = source
    const look = () => { this.isBroken ||= source.destroyed && !source.readableEnded && !this.destroyed }
    source.once('error', look).once('close', look)
    look()
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

  /** So far. */
  sha256 (): string {
    return this.#hash.copy().digest('hex')
  }
}

/** Lets a file end whose form was read to its end. Drops the bytes that its reader left. */
async function letEnd (file: HashedFile): Promise<void> {
  file.removeAllListeners('readable').resume()
  await finished(file).catch(() => {})
}

async function readFile ({ file }: File, max: number): Promise<Content> {
  const content = new Content()
  if (max === 0) return content
  for await (const chunk of file.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    content.add(chunk.subarray(0, max - content.bytes))
    if (content.bytes === max) break
  }
  return content
}

const fieldText = ({ name, value, truncated }: Field) => canonical([name, value, truncated])
const fileText = ({ name, filename }: File, content: Content) =>
  canonical([name, filename, content.bytes, content.sha256()])

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
