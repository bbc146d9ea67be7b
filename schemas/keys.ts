import { Type, type Static } from '@sinclair/typebox'
import { ref } from './common.js'

const publicKey = {
  kty: 'OKP',
  crv: 'Ed25519',
  x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
  kid: 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k',
  use: 'sig',
  alg: 'EdDSA'
}

export const PublicKey = Type.Object({
  kty: Type.String(),
  crv: Type.String(),
  x: Type.String(),
  y: Type.Optional(Type.String()),
  kid: Type.String({ description: 'RFC 7638' }),
  use: Type.String({ examples: ['sig'] }),
  alg: Type.String()
}, { $id: 'PublicKey', examples: [publicKey] })
export type PublicKey = Static<typeof PublicKey>

export const KeySet = Type.Object({
  keys: Type.Array(ref(PublicKey))
}, { $id: 'KeySet', examples: [{ keys: [publicKey] }] })
