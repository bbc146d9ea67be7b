import type { KeyObject } from 'node:crypto'
import type { Json, Signer } from './jws.js'

export interface Target {
  /** Signs as the service does; the service trusts its key. */
  signer: Signer
  secret: string
  /** The public halves of all pairs that the service trusts. */
  published: KeyObject[]
  /** Claims of a live session: `compact(signer.header, claims, signer.sign)` is accepted. */
  claims: Json & { sub: string, sid: string, iat: number, exp: number }
  /** Another token that is accepted. */
  other: string
  refreshToken: string
  /** An address that a header could point to. */
  url: string
}

export type Forgery = [name: string, token: string]
