import { Type, type Static } from '@sinclair/typebox'

export const PublicKey = Type.Object({
  kty: Type.String(),
  crv: Type.String(),
  x: Type.String(),
  y: Type.Optional(Type.String()),
  kid: Type.String({ description: 'RFC 7638' }),
  use: Type.Literal('sig'),
  alg: Type.String()
}, { additionalProperties: false })
export type PublicKey = Static<typeof PublicKey>

export const KeySet = Type.Object({
  keys: Type.Array(PublicKey)
}, { $id: 'KeySet', additionalProperties: false, examples: [{ keys: [{ kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', kid: 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k', use: 'sig', alg: 'EdDSA' }] }] })
