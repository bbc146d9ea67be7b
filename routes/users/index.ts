import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { anyOperation, BadRequest, BadUserId, Conflict, Forbidden, ref, TooLarge, Unauthorized, UnsupportedMediaType, UserNotFound } from '../../schemas/common.js'
import { CurrentUser, User, UserCreated, UserCreation, UserId } from '../../schemas/users.js'
import { createUsers } from '../../services/users.js'

const refusals = { ...anyOperation, 401: Unauthorized }
const security = [{ bearer: [] }]

const routes: FastifyPluginAsyncTypebox = async app => {
  const { config, collections, now } = app
  const users = createUsers({ users: collections.users, region: config.DEFAULT_REGION, requireOwnNumber: config.USERS_REQUIRE_OWN_NUMBER, now })
  app.addHook('onRequest', app.authenticate)
  app.removeContentTypeParser('multipart/form-data')

  app.post('', {
    schema: {
      operationId: 'createUser',
      tags: ['users'],
      summary: 'Create the caller\'s user, or find it again',
      description: 'The same username and number answer with the same id, however often.',
      security,
      body: ref(UserCreation),
      response: { 201: { ...ref(UserCreated), description: 'The user is there' }, ...refusals, 400: BadRequest, 403: Forbidden, 409: Conflict, 413: TooLarge, 415: UnsupportedMediaType }
    }
  }, async ({ body, phone }, reply) => {
    reply.code(201)
    return { message: 'User created', user_id: await users.create(body, phone) }
  })

  app.get('/me', {
    schema: {
      operationId: 'getCurrentUser',
      tags: ['users'],
      summary: 'The caller',
      security,
      response: { 200: { ...ref(CurrentUser), description: 'The user whose number the token was issued to' }, ...refusals, 404: UserNotFound }
    }
  }, ({ phone }) => users.getByPhone(phone))

  app.get('/:id', {
    config: { invalidParams: 'Invalid user id' },
    schema: {
      operationId: 'getUser',
      tags: ['users'],
      summary: 'One user',
      security,
      params: UserId,
      response: { 200: { ...ref(User), description: 'The user; the number is masked unless it is the caller\'s own' }, ...refusals, 400: BadUserId, 404: UserNotFound }
    }
  }, ({ params, phone }) => users.get(params.id, phone))
}

export default routes
