import formbody from '@fastify/formbody'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { anyOperation, BadRequest, ref, TooLarge, Unsigned, UnsupportedMediaType } from '../../schemas/common.js'
import { TwilioReference, TwilioStatus } from '../../schemas/webhooks.js'
import { unsigned } from '../../services/errors.js'

const routes: FastifyPluginAsyncTypebox = async app => {
  const { twilio } = app
  app.removeAllContentTypeParsers()
  await app.register(formbody)
  app.addHook('preValidation', async ({ headers, url, body, requestContext }) => {
    const signature = headers['x-twilio-signature']
    if (typeof signature === 'string' && twilio.isSigned(signature, url, (body ?? {}) as Record<string, unknown>)) return
    requestContext.record('access.denied', null, { reason: 'signature' })
    throw unsigned()
  })

  app.post('/twilio/status', {
    config: { public: true },
    schema: {
      operationId: 'reportTwilioStatus',
      tags: ['webhooks'],
      summary: 'Twilio\'s report of how an SMS ended',
      description: 'Only for Twilio, which signs it (`X-Twilio-Signature`). A phone that did not get the last SMS may ask for another one at once.',
      consumes: ['application/x-www-form-urlencoded'],
      querystring: TwilioReference,
      body: ref(TwilioStatus),
      response: {
        204: { type: 'null', description: 'Noted' },
        ...anyOperation,
        400: BadRequest,
        403: Unsigned,
        413: TooLarge,
        415: UnsupportedMediaType
      }
    }
  }, async ({ body, query, requestContext }, reply) => {
    await twilio.report(body, query, requestContext)
    return reply.code(204).send()
  })
}

export default routes
