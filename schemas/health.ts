import { Type } from '@sinclair/typebox'

export const Healthy = Type.Object({ status: Type.Literal('ok') }, { $id: 'Healthy', additionalProperties: false, examples: [{ status: 'ok' }] })
