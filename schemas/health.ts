import { Type } from '@sinclair/typebox'

export const Healthy = Type.Object({ status: Type.String({ examples: ['ok'] }) }, {
  $id: 'Healthy',
  examples: [{ status: 'ok' }]
})
