import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import {
  anyOperation,
  BadUpload,
  FileTooLarge,
  IdempotencyHeaders,
  ref,
  replayed,
  ReusedKey,
  TooManyUploads,
  Unauthorized,
  UnderWay,
  UnsupportedMediaType
} from '../../../schemas/common.js'
import { FileUploaded, UploadForm } from '../../../schemas/library.js'
import {
  DECODE_SECONDS,
  MAX_FRAME_PIXELS,
  MAX_FRAMES,
  MAX_PIXELS,
  MAX_PIXELS_IN_PASSES,
  MAX_SIDE
} from '../../../services/pictures/limits.js'

const refusals = { ...anyOperation, 401: Unauthorized }

const routes: FastifyPluginAsyncTypebox = async app => {
  const { library, uploads } = app

  app.post('', {
    config: {
      failure: { sentence: 'Failed to save library item', detailed: true },
      idempotent: 'form',
      isPatient: true,
      isUpload: true,
      recall
    },
    // the body schema is for the OpenAPI document: the form is checked as it streams by
    validatorCompiler: () => () => true,
    schema: {
      operationId: 'uploadFile',
      tags: ['library'],
      summary: 'Upload an image or GIF',
      description: uploadDescription(app.config.UPLOAD_MAX_BYTES, app.maxUploadsAtOnce),
      consumes: ['multipart/form-data'],
      headers: IdempotencyHeaders,
      body: ref(UploadForm),
      response: {
        201: { ...ref(FileUploaded), description: 'The item is in the library', headers: replayed },
        ...refusals,
        400: BadUpload,
        409: UnderWay,
        413: FileTooLarge,
        415: UnsupportedMediaType,
        422: ReusedKey,
        429: TooManyUploads
      }
    }
  }, async (request, reply) => {
    reply.code(201)
    return {
      message: 'File uploaded',
      ...library.toItem(await uploads.upload({
        form: request.formParts(),
        owner: request.caller.account._id,
        signal: closed(reply),
        log: request.log,
        idempotencyLock: request.idempotencyLock
      }))
    }
  })

  /** The answer of a request that died before it could give it. */
  async function recall (digest: string, since: Date) {
    const item = await uploads.recall(digest, since)
    return item?.upload_key &&
      {
        status: 201,
        answer: { message: 'File uploaded', ...library.toItem(item) },
        fingerprint: item.upload_key.fingerprint
      }
  }
}

export default routes

const uploadDescription = (
  maxBytes: number,
  maxAtOnce: number
) =>
  `One file and its fields as \`multipart/form-data\`, in any order. The bytes decide the type: GIF, PNG, JPEG or WebP. Nothing is kept of an upload that is refused.

Limits:
* The file: at most ${maxBytes} bytes (413).
* The picture: at most ${MAX_SIDE.toLocaleString('en')} pixels wide and high; ${MAX_FRAME_PIXELS / 1e6} megapixels for one frame, ${MAX_PIXELS_IN_PASSES / 1e6} for an interlaced PNG or a progressive JPEG; ${MAX_FRAMES.toLocaleString('en')} frames; ${MAX_PIXELS / 1e6} megapixels over all frames; ${DECODE_SECONDS} s to decode (400).
* The fields: at most 255 characters each (400).
* The form: one file, at most 20 parts, at most 64 KiB after the file (400).
* The caller's library: a quota of bytes and of items, where the operator sets one (413).
* The caller's uploads: at most ${maxAtOnce} at the same time (429); all callers': four times as many (503).`

/** Aborts when the connection ends. `request.signal` would abort when the request's body ends. */
function closed (reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => controller.abort())
  return controller.signal
}
