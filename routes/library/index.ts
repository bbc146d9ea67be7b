import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { anyOperation, BadQuery, BadUpload, ref, TooLarge, Unauthorized, UnsupportedMediaType } from '../../schemas/common.js'
import { FileUploaded, LibraryPage, LibraryQuery, UploadForm } from '../../schemas/library.js'
import { invalidToken } from '../../services/errors.js'
import { createLibrary } from '../../services/library.js'
import { createUploads } from '../../services/upload.js'

const refusals = { ...anyOperation, 401: Unauthorized }
const security = [{ bearer: [] }]

const routes: FastifyPluginAsyncTypebox = async app => {
  const { config, collections, mediaStore: media, now } = app
  const uploader = ({ phone, sessionId }: FastifyRequest) => ({ phone, sessionId, phoneNow: () => phoneOf(sessionId) })
  const library = createLibrary({ library: collections.library, media })
  const uploads = createUploads({ uploads: collections.uploads, library: collections.library, media, limit: config.UPLOAD_MAX_BYTES, now })
  app.addHook('onRequest', app.authenticate)
  app.addHook('onClose', uploads.close)
  app.removeContentTypeParser('application/json')

  app.post('/upload', {
    config: { failure: { sentence: 'Failed to save library item', detailed: true } },
    // the body schema is for the OpenAPI document: the form is judged as it streams by
    validatorCompiler: () => () => true,
    schema: {
      operationId: 'uploadFile',
      tags: ['library'],
      summary: 'Upload an image or GIF',
      description: 'One file and its fields as `multipart/form-data`, in any order. GIF, PNG, JPEG or WebP, by its bytes; nothing is kept of an upload that is refused.',
      security,
      consumes: ['multipart/form-data'],
      body: ref(UploadForm),
      response: { 201: { ...ref(FileUploaded), description: 'The item is in the library' }, ...refusals, 400: BadUpload, 413: TooLarge, 415: UnsupportedMediaType }
    }
  }, async (request, reply) => {
    reply.code(201)
    return { message: 'File uploaded', ...library.present(await uploads.upload(request.formParts(), uploader(request), closed(reply), request.log)) }
  })

  app.get('', {
    config: { failure: { sentence: 'Failed to fetch library items', detailed: true } },
    schema: {
      operationId: 'listLibrary',
      tags: ['library'],
      summary: 'List the library, newest first',
      security,
      querystring: LibraryQuery,
      response: { 200: { ...ref(LibraryPage), description: 'One page; past the end it is empty' }, ...refusals, 400: BadQuery }
    }
  }, ({ query }) => library.list(query))

  async function phoneOf (sessionId: string): Promise<string> {
    const session = await app.sessions.findNow(sessionId)
    if (!session) throw invalidToken()
    return session.phone
  }
}

export default routes

/** Aborted when the connection ends; `request.signal` would be when the request's body ends. */
function closed (reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => controller.abort())
  return controller.signal
}
