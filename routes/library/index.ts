import fastifyEtag from '@fastify/etag'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  anyOperation,
  BadItemId,
  BadItemRemoval,
  BadQuery,
  BadUpload,
  etag,
  FileTooLarge,
  ForeignItem,
  IdempotencyHeaders,
  ItemNotFound,
  NoContent,
  NotModified,
  ref,
  replayed,
  ReusedKey,
  TooLarge,
  TooManyUploads,
  Unauthorized,
  UnderWay,
  UnsupportedMediaType
} from '../../schemas/common.js'
import {
  FileUploaded,
  LibraryItem,
  LibraryItemId,
  LibraryPage,
  LibraryQuery,
  Revalidation,
  UploadForm
} from '../../schemas/library.js'
import { namesTag } from '../../services/entity-tag.js'
import { createRemoval } from '../../services/library/delete-item.js'

const refusals = { ...anyOperation, 401: Unauthorized }
const security = [{ bearer: [] }]
/** Without the pattern the router would accept an empty id. */
const ITEM = '/:id(^[\\s\\S]+$)'

const routes: FastifyPluginAsyncTypebox = async app => {
  const { collections, library, mediaStore: media, roles, uploads, now } = app
  app.addHook('onRequest', app.authenticate)
  await app.register(removalRoute)
  app.removeContentTypeParser('application/json')

  app.post('/upload', {
    config: {
      failure: { sentence: 'Failed to save library item', detailed: true },
      idempotent: true,
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
      security,
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
      ...library.present(await uploads.upload(
        request.formParts(),
        request.caller.account._id,
        closed(reply),
        request.log,
        request.idempotencyLock
      ))
    }
  })

  await app.register(readingRoutes)

  /** The answer of a request that died before it could give it. */
  async function recall (digest: string, since: Date) {
    const item = await uploads.recall(digest, since)
    return item?.upload_key &&
      {
        status: 201,
        answer: { message: 'File uploaded', ...library.present(item) },
        fingerprint: item.upload_key.fingerprint
      }
  }

  async function readingRoutes (app: Parameters<FastifyPluginAsyncTypebox>[0]): Promise<void> {
    await app.register(fastifyEtag, { weak: true, replyWith304: false })
    app.addHook('onSend', async (request, reply, payload) => revalidated(request, reply, payload))

    app.get('', {
      config: { failure: { sentence: 'Failed to fetch library items', detailed: true } },
      schema: {
        operationId: 'listLibrary',
        tags: ['library'],
        summary: 'List and search the library, newest first',
        description: 'By page, or by cursor through all of it. Filters go by what is stored, and all that are given must hold.',
        security,
        headers: Revalidation,
        querystring: LibraryQuery,
        response: {
          200: { ...ref(LibraryPage), description: 'One page; past the end it is empty', headers: etag },
          304: NotModified,
          ...refusals,
          400: BadQuery
        }
      }
    }, ({ query, caller }) => library.list(query, caller.account._id))

    app.get(ITEM, {
      config: { invalidParams: 'Invalid library item id' },
      schema: {
        operationId: 'getLibraryItem',
        tags: ['library'],
        summary: 'One item of the library',
        security,
        headers: Revalidation,
        params: LibraryItemId,
        response: {
          200: { ...ref(LibraryItem), description: 'The item', headers: etag },
          304: NotModified,
          ...refusals,
          400: BadItemId,
          404: ItemNotFound
        }
      }
    }, ({ params }) => library.get(params.id))
  }

  async function removalRoute (app: Parameters<FastifyPluginAsyncTypebox>[0]): Promise<void> {
    const removal = createRemoval({ ...collections, media, isAdmin: roles.isAdmin, now })
    app.removeContentTypeParser('multipart/form-data')

    app.delete(ITEM, {
      config: { invalidParams: 'Invalid library item id' },
      schema: {
        operationId: 'removeLibraryItem',
        tags: ['library'],
        summary: 'Remove an item and its files',
        description: 'For its owner and for admins. Its URLs end with it.',
        security,
        params: LibraryItemId,
        response: {
          204: NoContent,
          ...refusals,
          400: BadItemRemoval,
          403: ForeignItem,
          404: ItemNotFound,
          413: TooLarge,
          415: UnsupportedMediaType
        }
      }
    }, async ({ params, caller, requestContext }, reply) => {
      await removal.remove(params.id, caller, requestContext)
      return reply.code(204).send()
    })
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
* The picture: at most 16,384 pixels wide and high; 50 megapixels for one frame, 16 for an interlaced PNG or a progressive JPEG; 1,000 frames; 200 megapixels over all frames; 10 s to decode (400).
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

/** Lets the client cache an answer, which it must revalidate before use. A refusal is not cached, and has no ETag. */
function revalidated ({ method, headers }: FastifyRequest, reply: FastifyReply, payload: unknown): unknown {
  if (reply.statusCode !== 200) {
    reply.removeHeader('etag')
    return payload
  }
  reply.header('cache-control', 'private, no-cache')
  if (!namesTag(headers['if-none-match'] ?? '', String(reply.getHeader('etag')))) return payload
  reply.code(304).removeHeader('content-type')
  return method === 'HEAD' ? payload : null // a HEAD route sets the payload's length and drops the payload
}
