import { negotiate } from '@fastify/accept-negotiator'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  anyOperation,
  BadItemChange,
  BadItemId,
  BadItemRemoval,
  BadQuery,
  etag,
  ForeignItem,
  ItemNotFound,
  NoContent,
  NotModified,
  OwnItem,
  AdminsOnly,
  BadReport,
  BadReview,
  ref,
  TooManyReports,
  TooLarge,
  Unauthorized,
  UnsupportedMediaType
} from '../../schemas/common.js'
import {
  LibraryItem,
  LibraryItemChange,
  LibraryItemId,
  LibraryPage,
  LibraryQuery,
  Revalidation
} from '../../schemas/library.js'
import { Report, ReportReceived, Review } from '../../schemas/moderation.js'
import { namesTag, weakTag } from '../../services/library/entity-tag.js'
import type { ListAnswer, ListOptions } from '../../services/library/library.js'

const refusals = { ...anyOperation, 401: Unauthorized }
/** Without the pattern the router would accept an empty id. */
const ITEM = '/:id(^[\\s\\S]+$)'
const invalidParams = 'Invalid library item id'
const REVALIDATED = 'private, no-cache'
const ENCODINGS = ['gzip', 'identity']

const routes: FastifyPluginAsyncTypebox = async app => {
  const { library, moderation, roles } = app
  await app.register(readingRoutes)

  app.patch(ITEM, {
    config: { invalidParams },
    preValidation: nullsAsEmpty,
    schema: {
      operationId: 'changeLibraryItem',
      tags: ['library'],
      summary: 'Change the title and the category of an item',
      description: 'For its owner and for admins. A member that is not sent stays as it is.',
      params: LibraryItemId,
      body: ref(LibraryItemChange),
      response: {
        200: { ...ref(LibraryItem), description: 'The item as it is now' },
        ...refusals,
        400: BadItemChange,
        403: ForeignItem,
        404: ItemNotFound,
        413: TooLarge,
        415: UnsupportedMediaType
      }
    }
  }, ({ params, body, caller, requestContext }) => library.editItem(params.id, body, caller, requestContext))

  app.delete(ITEM, {
    config: { invalidParams },
    schema: {
      operationId: 'removeLibraryItem',
      tags: ['library'],
      summary: 'Remove an item and its files',
      description: 'For its owner and for admins. Its URLs end with it.',
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
    await library.deleteItem(params.id, caller, requestContext)
    return reply.code(204).send()
  })

  app.post('/:id/reports', {
    config: { invalidParams, reports: true },
    schema: {
      operationId: 'reportLibraryItem',
      tags: ['moderation'],
      summary: 'Report an item',
      description: 'One report for each account and item: a repeated one adds none. From then on the caller\'s lists leave the item out. Enough reports by accounts that are at least 24 hours old hide it from everybody but its owner and admins. The owner never learns who reported it.',
      params: LibraryItemId,
      body: ref(Report),
      response: {
        201: { ...ref(ReportReceived), description: 'The report is stored' },
        ...refusals,
        400: BadReport,
        403: OwnItem,
        404: ItemNotFound,
        413: TooLarge,
        415: UnsupportedMediaType,
        429: TooManyReports
      }
    }
  }, async ({ params, body, caller, requestContext }, reply) => {
    await moderation.report(params.id, body, caller, requestContext)
    return reply.code(201).send({ message: 'Report received' })
  })

  app.post('/:id/review', {
    config: { invalidParams },
    onRequest: async ({ caller, requestContext }) => roles.requireAdmin(caller, requestContext),
    schema: {
      operationId: 'reviewLibraryItem',
      tags: ['moderation'],
      summary: 'Decide on an item and close its reports (admins)',
      params: LibraryItemId,
      body: ref(Review),
      response: {
        200: { ...ref(LibraryItem), description: 'The item, after `keep` and `hide`' },
        204: { ...NoContent, description: 'After `remove`' },
        ...refusals,
        400: BadReview,
        403: AdminsOnly,
        404: ItemNotFound,
        413: TooLarge,
        415: UnsupportedMediaType
      }
    }
  }, async ({ params, body, caller, requestContext }, reply) => {
    const item = await moderation.review(params.id, body, caller, requestContext)
    return item ?? reply.code(204).send()
  })

  async function readingRoutes (app: Parameters<FastifyPluginAsyncTypebox>[0]): Promise<void> {
    app.addHook('onSend', (request, reply, payload, done) => done(null, revalidated(request, reply, payload)))

    app.get('', {
      config: { failure: { sentence: 'Failed to fetch library items', detailed: true } },
      schema: {
        operationId: 'listLibrary',
        tags: ['library'],
        summary: 'List and search the library, newest first',
        description: 'By page, or by cursor through all of it. Filters go by what is stored, and all that are given must hold.',
        headers: Revalidation,
        querystring: LibraryQuery,
        response: {
          200: { ...ref(LibraryPage), description: 'One page; past the end it is empty', headers: etag },
          304: NotModified,
          ...refusals,
          400: BadQuery
        }
      }
    }, async (request, reply) => {
      const { query, caller } = request
      return sendPage(reply, await library.list(query, caller, listOptions(request, reply)))
    })

    app.get(ITEM, {
      config: { invalidParams },
      schema: {
        operationId: 'getLibraryItem',
        tags: ['library'],
        summary: 'One item of the library',
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
    }, ({ params, caller }) => library.get(params.id, caller))
  }
}

export default routes

const listOptions = ({ method, headers }: FastifyRequest, reply: FastifyReply): ListOptions => ({
  serialize: page => String(reply.serialize(page)),
  takesGzip: negotiate(headers['accept-encoding'] ?? '', ENCODINGS) === 'gzip',
  // the length of a HEAD's answer is that of the page
  isKnown: tag => method === 'GET' && namesTag(headers['if-none-match'] ?? '', tag)
})

function sendPage (reply: FastifyReply, { tag, page }: ListAnswer): FastifyReply {
  const vary = reply.getHeader('vary')
  reply.headers({
    vary: vary === undefined ? 'Accept-Encoding' : `${String(vary)}, Accept-Encoding`,
    ...(tag !== undefined && { etag: tag })
  })
  if (!page) return reply.code(304).header('cache-control', REVALIDATED).send()
  reply.type('application/json; charset=utf-8')
  if (page.gzip) reply.header('content-encoding', 'gzip')
  return reply.send(page.gzip ?? page.text)
}

/** Null clears a text, as an empty one does. The document has no null in requests: generated clients misread it. */
function nullsAsEmpty ({ body }: FastifyRequest, _reply: FastifyReply, done: () => void): void {
  const members = body as Record<string, unknown> | null | undefined
  for (const name of ['title', 'category']) if (members?.[name] === null) members[name] = ''
  done()
}

/** Lets the client cache an answer, which it must revalidate before use. A refusal is not cached, and has no ETag. */
function revalidated ({ method, headers }: FastifyRequest, reply: FastifyReply, payload: unknown): unknown {
  if (reply.statusCode !== 200 || !(typeof payload === 'string' || Buffer.isBuffer(payload))) return payload
  const tag = reply.getHeader('etag') as string | undefined ?? weakTag(payload)
  reply.headers({ etag: tag, 'cache-control': REVALIDATED })
  if (!namesTag(headers['if-none-match'] ?? '', tag)) return payload
  reply.code(304).removeHeader('content-type').removeHeader('content-encoding')
  return method === 'HEAD' ? payload : null // a HEAD route sets the payload's length and drops the payload
}
