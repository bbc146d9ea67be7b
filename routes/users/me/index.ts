import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import {
  anyOperation,
  BadRequest,
  Conflict,
  NoContent,
  OldSignIn,
  ref,
  TooLarge,
  TooManyExports,
  Unauthorized,
  UnsupportedMediaType,
  UserNotFound
} from '../../../schemas/common.js'
import { CurrentUser, CurrentUserChange, PersonalData } from '../../../schemas/users.js'

const refusals = { ...anyOperation, 401: Unauthorized }

const routes: FastifyPluginAsyncTypebox = async app => {
  const { accountDeletion, exportAccount, users } = app

  app.get('', {
    config: { showsAccount: true },
    schema: {
      operationId: 'getCurrentUser',
      tags: ['users'],
      summary: 'The caller',
      response: {
        200: { ...ref(CurrentUser), description: 'The user who is signed in' },
        ...refusals,
        404: UserNotFound
      }
    }
  }, async ({ caller }) => users.getOwn(caller))

  app.patch('', {
    schema: {
      operationId: 'changeCurrentUser',
      tags: ['users'],
      summary: 'Change the caller\'s username',
      body: ref(CurrentUserChange),
      response: {
        200: { ...ref(CurrentUser), description: 'The user as it is now' },
        ...refusals,
        400: BadRequest,
        404: UserNotFound,
        409: Conflict,
        413: TooLarge,
        415: UnsupportedMediaType
      }
    }
  }, ({ body, caller, requestContext }) => users.change(body, caller, requestContext))

  app.delete('', {
    onRequest: app.requireRecentSignIn,
    schema: {
      operationId: 'deleteCurrentUser',
      tags: ['users'],
      summary: 'Delete the caller\'s account',
      description: 'Signs every device out. Items stay in the library, without an owner and with the label `deleted`. The caller must have signed in within the last 10 minutes.',
      response: { 204: NoContent, ...refusals, 403: OldSignIn, 413: TooLarge, 415: UnsupportedMediaType }
    }
  }, async ({ caller, requestContext }, reply) => {
    await accountDeletion.deleteAccount(caller, requestContext)
    return reply.code(204).send()
  })

  app.get('/export', {
    config: { isPatient: true, showsAccount: true },
    schema: {
      operationId: 'exportCurrentUser',
      tags: ['users'],
      summary: 'Everything that is stored about the caller',
      description: 'One at a time for the whole service process, read as fast as it is taken.',
      response: {
        200: { ...ref(PersonalData), description: 'A file to download; a connection that ends early has cut it' },
        ...refusals,
        429: TooManyExports
      }
    }
  }, async ({ caller, requestContext }, reply) => {
    const { at, text } = await exportAccount(caller, requestContext)
    reply.type('application/json; charset=utf-8').header(
      'content-disposition',
      `attachment; filename="hookaba-${at.toISOString().slice(0, 10)}.json"`
    )
    return reply.send(text)
  })
}

export default routes
