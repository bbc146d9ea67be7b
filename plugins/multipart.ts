import multipart, { type Multipart } from '@fastify/multipart'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { fileTooLarge, invalidMultipart, notMultipart, ServiceError } from '../services/errors.js'
import type { FormPart } from '../services/upload-form.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** The parts of a multipart form as they arrive. 415 when the request is none; 400 when it is malformed, unfinished, or beyond the limits. */
    formParts: () => AsyncGenerator<FormPart, void, undefined>
  }
}

const MAX_PARTS = 20
const MAX_BYTES_AFTER_FILE = 64 * 1024
/** Bytes around the file and beyond its limit that are still read, to learn which refusal comes first. */
const MAX_BYTES_AROUND_FILE = 2 * 1024 * 1024
/** Bytes of a refused request that are read and thrown away, so that a client that still writes gets to read the answer. */
const DRAINED_BYTES = 16 * 1024 * 1024
const PART_OVERHEAD = Buffer.byteLength('\r\n--\r\nContent-Disposition: form-data; name=""\r\n\r\n')

/** `request.formParts()`: multipart/form-data (RFC 7578) in the order of the wire, within the contract's limits. */
export default fp(async function forms (app) {
  const { UPLOAD_MAX_BYTES: maxBytes } = app.config
  await app.register(multipart, {
    throwFileSizeLimit: false,
    preservePath: true,
    isPartAFile: (_field, _type, filename) => filename !== undefined,
    limits: { parts: MAX_PARTS, fileSize: maxBytes + 1, fieldSize: MAX_BYTES_AFTER_FILE, headerPairs: 100 }
  })

  app.decorateRequest('formParts', async function * (this: FastifyRequest) {
    if (!this.isMultipart()) throw notMultipart()
    const watch = watchBytes(this, maxBytes)
    const parts = this.parts()
    try {
      for (let next = await watch.race(parts.next()); !next.done; next = await watch.race(parts.next())) {
        watch.count(next.value)
        yield shaped(next.value)
      }
      watch.end()
    } catch (error) {
      throw error instanceof ServiceError ? error : invalidMultipart(error)
    } finally {
      drain(this)
    }
  })
}, { name: 'multipart', dependencies: ['env'] })

function shaped (part: Multipart): FormPart {
  return part.type === 'file'
    ? { type: 'file', name: part.fieldname, filename: part.filename, file: part.file }
    : { type: 'field', name: part.fieldname, value: part.value, truncated: part.valueTruncated }
}

/** Watches how much of the request is no file: what follows the file, and what comes when no file can be taken any more. */
function watchBytes ({ raw }: FastifyRequest, maxBytes: number) {
  let received = 0
  let receivedAtFileEnd: number | undefined
  let parsedAfterFile = 0
  let seen = 0
  const tooLong = new Promise<never>((_resolve, reject) => {
    raw.on('data', (chunk: Buffer) => {
      received += chunk.length
      if (received > maxBytes + MAX_BYTES_AROUND_FILE) reject(receivedAtFileEnd === undefined ? fileTooLarge(maxBytes) : invalidMultipart())
    })
  })
  tooLong.catch(() => {})

  return {
    /** Settles as `work` does, or rejects once more has come than any form that is taken can have: 413 while the file goes on, else 400. */
    race: <T> (work: Promise<T>) => Promise.race([work, tooLong]),

    count (part: Multipart): void {
      seen++
      if (part.type === 'file') part.file.once('end', () => { receivedAtFileEnd = received })
      else if (receivedAtFileEnd !== undefined) parsedAfterFile += PART_OVERHEAD + Buffer.byteLength(part.fieldname ?? '') + Buffer.byteLength(String(part.value))
      check()
    },

    end (): void {
      if (seen === 0 && received === 0) throw invalidMultipart()
      check()
    }
  }

  function check (): void {
    const after = Math.max(parsedAfterFile, receivedAtFileEnd === undefined ? 0 : received - receivedAtFileEnd)
    if (after > MAX_BYTES_AFTER_FILE) throw invalidMultipart()
  }
}

/** Lets what is left of the body flow away, up to a bound; then the connection ends. */
function drain ({ raw }: FastifyRequest): void {
  if (raw.readableEnded || raw.destroyed) return
  let drained = 0
  raw.unpipe()
  raw.on('data', (chunk: Buffer) => {
    drained += chunk.length
    if (drained > DRAINED_BYTES) raw.socket.destroy()
  })
  raw.resume()
}
