import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import {
  AdminsOnly,
  anyOperation,
  BadQuery,
  BadUserChange,
  BadUserCreation,
  BadUserId,
  ForeignNumber,
  IdempotencyHeaders,
  ref,
  replayed,
  ReusedKey,
  TooLarge,
  Unauthorized,
  UnsupportedMediaType,
  UserConflict,
  UserNotFound
} from '../../schemas/common.js'
import {
  ManagedUser,
  User,
  UserChange,
  UserCreated,
  UserCreation,
  UserId,
  UserPage,
  UserQuery
} from '../../schemas/users.js'

const refusals = { ...anyOperation, 401: Unauthorized }

const routes: FastifyPluginAsyncTypebox = async app => {
  const { roles, userAdmin, users } = app

  app.post('', {
    config: { failure: { sentence: 'User creation failed', detailed: false }, idempotent: 'json' },
    schema: {
      operationId: 'createUser',
      tags: ['users'],
      summary: 'Create the caller\'s user, or find it again',
      description: 'The same username and number answer with the same id each time. An admin may create a user for any number.',
      headers: IdempotencyHeaders,
      body: ref(UserCreation),
      response: {
        201: { ...ref(UserCreated), description: 'The user is there', headers: replayed },
        ...refusals,
        400: BadUserCreation,
        403: ForeignNumber,
        409: UserConflict,
        413: TooLarge,
        415: UnsupportedMediaType,
        422: ReusedKey
      }
    }
  }, async ({ body, caller, requestContext }, reply) => {
    reply.code(201)
    return { message: 'User created', user_id: await users.create(body, caller, requestContext) }
  })

  app.get('/:id', {
    config: { invalidParams: 'Invalid user id' },
    schema: {
      operationId: 'getUser',
      tags: ['users'],
      summary: 'One user',
      params: UserId,
      response: {
        200: {
          ...ref(User),
          description: 'The user; the number is masked unless it is the caller\'s own, or the caller an admin'
        },
        ...refusals,
        400: BadUserId,
        404: UserNotFound
      }
    }
  }, ({ params, caller }) => users.get(params.id, caller))

  await app.register(adminRoutes)

  async function adminRoutes (app: Parameters<FastifyPluginAsyncTypebox>[0]): Promise<void> {
    app.addHook('onRequest', async ({ caller, requestContext }) => roles.requireAdmin(caller, requestContext))

    app.get('', {
      schema: {
        operationId: 'listUsers',
        tags: ['users'],
        summary: 'List and search the users (admins)',
        querystring: UserQuery,
        response: {
          200: { ...ref(UserPage), description: 'One page, in the order of ids' },
          ...refusals,
          400: BadQuery,
          403: AdminsOnly
        }
      }
    }, ({ query }) => userAdmin.list(query))

    app.patch('/:id', {
      config: { invalidParams: 'Invalid user id' },
      schema: {
        operationId: 'changeUser',
        tags: ['users'],
        summary: 'Make a user an admin, or block them (admins)',
        description: 'A block ends the user\'s sessions: at once for this instance, within ten seconds for all. A number in `ADMIN_NUMBERS` is an admin again at the next start.',
        params: UserId,
        body: ref(UserChange),
        response: {
          200: { ...ref(ManagedUser), description: 'The user as it is now' },
          ...refusals,
          400: BadUserChange,
          403: AdminsOnly,
          404: UserNotFound,
          413: TooLarge,
          415: UnsupportedMediaType
        }
      }
    }, ({ params, body, caller, requestContext }) => userAdmin.change(params.id, body, caller, requestContext))
  }
}

export default routes
