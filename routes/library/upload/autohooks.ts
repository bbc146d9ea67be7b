import { Readable } from 'node:stream'
import multipart from '@fastify/multipart'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { fileTooLarge, invalidMultipart, notMultipart, ServiceError } from '../../../services/errors.js'
import type { FormPart } from '../../../services/ports.js'
import { boundaryOf, createDelimiterScan } from '../../../services/uploads/multipart-wire.js'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * The parts of a multipart form as they arrive, in the scope of the upload only. 415 if the request is none; 400 if
     * it is malformed, unfinished, or beyond the limits; 413 if it is too long to be read to its end.
     */
    formParts: () => AsyncGenerator<FormPart, void, undefined>
  }
}

const MAX_PARTS = 20
const MAX_BYTES_AFTER_FILE = 64 * 1024
/** Bytes around the file and beyond its limit that are still read, to find the first refusal. */
const MAX_BYTES_AROUND_FILE = 2 * 1024 * 1024
/**
 * More than the parser gets in one turn of the event loop. If a part that it skips ended beyond this in one turn, the
 * parser would wait for ever.
 */
const MAX_BYTES_AT_ONCE = 256 * 1024

/**
 * `request.formParts()`: multipart/form-data (RFC 7578) in the order of the wire, within the contract's limits. Only
 * the routes of this folder take a form.
 */
export default async function forms (app: FastifyInstance) {
  const { UPLOAD_MAX_BYTES: maxBytes } = app.config
  app.removeAllContentTypeParsers()
  await app.register(multipart, {
    throwFileSizeLimit: false,
    preservePath: true,
    fileHwm: MAX_BYTES_AT_ONCE,
    limits: { parts: MAX_PARTS, fileSize: maxBytes + 1, fieldSize: MAX_BYTES_AFTER_FILE, headerPairs: 100 }
  })

  app.decorateRequest('formParts', async function * (this: FastifyRequest) {
    if (!this.isMultipart()) throw notMultipart()
    const boundary = boundaryOf(this.headers['content-type']!)
    if (boundary === undefined) throw invalidMultipart()
    const wire = watchWire(this, boundary, maxBytes)
    const parts = allParts(this)
    try {
      for (let next = await wire.race(parts.next()); !next.done; next = await wire.race(parts.next())) {
        const part = next.value
        wire.count(part)
        if (part.type === 'file') Object.assign(part.file, wire.bounds())
        yield part
      }
      await wire.race(wire.ended())
    } catch (error) {
      throw error instanceof ServiceError ? error : invalidMultipart(error)
    }
  })

  /**
   * Yields the parts in the order of the wire. Parts that are named like a member of `Object.prototype` come without
   * content: the parser skips them, and reports it at the form's end.
   */
  async function * allParts (request: FastifyRequest): AsyncGenerator<FormPart, void, undefined> {
    const passedOver: Array<{ position: number, part: FormPart }> = []
    let begun = 0
    let given = 0
    try {
      for await (const part of request.parts({ isPartAFile })) {
        yield * passedOverNext()
        given++
        yield part.type === 'file'
          ? { type: 'file', name: part.fieldname, filename: part.filename, file: part.file }
          : { type: 'field', name: part.fieldname, value: part.value, truncated: part.valueTruncated }
      }
    } catch (error) {
      if (!(error instanceof app.multipartErrors.PrototypeViolationError)) throw error
    }
    yield * passedOverNext()

    /** The parser calls it for every part that it understands, when the part begins. */
    function isPartAFile (name: string | undefined, _type?: string, filename?: string): boolean {
      const position = ++begun
      const isFile = filename !== undefined
      if (String(name) in Object.prototype) {
        passedOver.push({
          position,
          part: isFile
            ? { type: 'file', name: String(name), filename, file: Readable.from([]) }
            : { type: 'field', name: String(name), value: '', truncated: false }
        })
      }
      return isFile
    }

    function * passedOverNext (): Generator<FormPart, void, undefined> {
      while (passedOver[0]?.position === given + 1) {
        given++
        yield passedOver.shift()!.part
      }
    }
  }
}

/**
 * Watches the bytes of a form: how many there are, how many follow its file, and whether all of its parts were
 * understood.
 */
function watchWire ({ raw, headers }: FastifyRequest, boundary: string, maxBytes: number) {
  const scan = createDelimiterScan(boundary)
  const length = headers['content-length'] === undefined ? undefined : Number(headers['content-length'])
  let received = 0
  let parts = 0
  let filePart: number | undefined
  const broken = new Promise<never>((_resolve, reject) => {
    raw.on('data', (chunk: Buffer) => {
      scan.push(chunk)
      received += chunk.length
      if (scan.offsets.length > MAX_PARTS + 1 || bytesAfterFile() > MAX_BYTES_AFTER_FILE) reject(invalidMultipart())
      if (received > maxBytes + MAX_BYTES_AROUND_FILE) reject(fileTooLarge(maxBytes))
    })
    // unread bytes are lost, even if the form was complete
    const closed = () => { if (!raw.readableEnded) reject(invalidMultipart()) }
    if (raw.closed) closed()
    raw.once('close', closed)
  })
  broken.catch(() => {})

  return {
    /** Settles as `work` does, or rejects once the rest of the form is useless. */
    race: <T> (work: Promise<T>) => Promise.race([work, broken]),

    count (part: FormPart): void {
      parts++
      if (part.type === 'file') filePart ??= parts
      if (bytesAfterFile() > MAX_BYTES_AFTER_FILE) throw invalidMultipart()
    },

    /**
     * Bounds for a file that begins now, by the request's length: all bytes still to come belong to it, except those
     * that may follow it.
     */
    bounds: () => length === undefined
      ? {}
      : { minBytes: Math.max(0, length - received - MAX_BYTES_AFTER_FILE), maxBytes: length },

    /** Reads the bytes after the last part. Rejects if the parser has missed a part. */
    async ended (): Promise<void> {
      raw.resume()
      if (!raw.readableEnded) await new Promise(resolve => raw.once('end', resolve))
      if (scan.offsets.length !== parts + 1) throw invalidMultipart()
    }
  }

  /** Bytes from the delimiter that ends the file. */
  function bytesAfterFile (): number {
    return filePart === undefined ? 0 : received - (scan.offsets[filePart] ?? received)
  }
}
