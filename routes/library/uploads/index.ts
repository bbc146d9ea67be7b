import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import {
  anyOperation,
  BadRequest,
  BadUpload,
  CompletionConflict,
  FileTooLarge,
  ref,
  TooManyOpen,
  TooManyUploads,
  Unauthorized,
  UnsupportedMediaType,
  UploadNotFound,
  UploadTooLarge
} from '../../../schemas/common.js'
import { DirectUpload, DirectUploadRequest, FileUploaded, UploadId } from '../../../schemas/library.js'
import { dropBlank } from '../../../services/uploads/form.js'

const refusals = { ...anyOperation, 401: Unauthorized }

const routes: FastifyPluginAsyncTypebox = async app => {
  const { library, uploads } = app

  app.post('', {
    preValidation: async ({ body }) => dropBlank(body),
    schema: {
      operationId: 'startDirectUpload',
      tags: ['library'],
      summary: 'Get a form that posts a file straight to the store',
      description: 'For files that need not pass through this service: post the form\'s fields and then `file` as `multipart/form-data` to its `url`, then complete the upload. The form takes one object of exactly this type and size, until it expires. An account has at most 20 open ones.',
      body: ref(DirectUploadRequest),
      response: {
        201: { ...ref(DirectUpload), description: 'The form' },
        ...refusals,
        400: BadRequest,
        413: UploadTooLarge,
        415: UnsupportedMediaType,
        429: TooManyOpen
      }
    }
  }, async (request, reply) => {
    reply.code(201)
    return uploads.offer(request.body, request.caller.account._id)
  })

  app.post('/:id/complete', {
    config: {
      invalidParams: 'Invalid upload id',
      failure: { sentence: 'Failed to save library item', detailed: true },
      isPatient: true,
      isUpload: true
    },
    schema: {
      operationId: 'completeDirectUpload',
      tags: ['library'],
      summary: 'Make what was posted an item of the library',
      description: 'The stored bytes are checked like those of an upload. A second request gets the same answer. Refused bytes are removed.',
      params: UploadId,
      response: {
        201: { ...ref(FileUploaded), description: 'The item is in the library' },
        ...refusals,
        400: BadUpload,
        404: UploadNotFound,
        409: CompletionConflict,
        413: FileTooLarge,
        415: UnsupportedMediaType,
        429: TooManyUploads
      }
    }
  }, async (request, reply) => {
    reply.code(201)
    return {
      message: 'File uploaded',
      ...library.toItem(await uploads.complete(request.params.id, request.caller.account._id, request.log))
    }
  })
}

export default routes
