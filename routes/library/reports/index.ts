import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { AdminsOnly, anyOperation, BadQuery, ref, Unauthorized } from '../../../schemas/common.js'
import { ReportPage, ReportQuery } from '../../../schemas/moderation.js'

const routes: FastifyPluginAsyncTypebox = async app => {
  const { moderation, roles } = app
  app.addHook('onRequest', async ({ caller, requestContext }) => roles.requireAdmin(caller, requestContext))

  app.get('', {
    schema: {
      operationId: 'listReports',
      tags: ['moderation'],
      summary: 'The items with open reports, most reported first (admins)',
      description: 'An entry whose count changes meanwhile may come twice, or be missed in one walk.',
      querystring: ReportQuery,
      response: {
        200: { ...ref(ReportPage), description: 'One page' },
        ...anyOperation,
        400: BadQuery,
        401: Unauthorized,
        403: AdminsOnly
      }
    }
  }, ({ query }) => moderation.listReported(query))
}

export default routes
