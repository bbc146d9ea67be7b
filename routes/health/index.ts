import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { anyOperation, ref } from '../../schemas/common.js'
import { Healthy } from '../../schemas/health.js'

const routes: FastifyPluginAsyncTypebox = async app => {
  const { health } = app
  const schema = {
    tags: ['health'],
    response: { 200: { ...ref(Healthy), description: 'Yes' }, ...anyOperation }
  }

  const config = { public: true, isProbe: true } as const

  app.get(
    '/live',
    { config, schema: { ...schema, operationId: 'isLive', summary: 'Does the process run?' } },
    async () => ({ status: 'ok' })
  )

  app.get(
    '/ready',
    { config, schema: { ...schema, operationId: 'isReady', summary: 'Are the database and the store reachable?' } },
    async () => {
      await health.ready()
      return { status: 'ok' }
    }
  )
}

export default routes
