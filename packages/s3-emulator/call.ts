import type { Identity } from './auth.js'
import type { Body } from './body.js'
import type { Store } from './store.js'
import type { Target } from './target.js'

/** One authenticated request on its way to an operation. */
export interface Call extends Target {
  readonly identity: Identity
  readonly body: Body
  readonly store: Store
  readonly settings: Settings
  /** Whether this caller may do something else on this bucket; some answers depend on it. */
  readonly allows: (action: string) => boolean
}

export interface Settings {
  readonly region: string
  readonly now: () => Date
  readonly credentials: { accessKeyId: string, secretAccessKey: string }
  readonly ownerId: string
}

export interface Reply {
  status: number
  headers?: Record<string, string | number | undefined>
  /** For HEAD only its length is sent. */
  body?: string | { length: number, bytes: AsyncIterable<Buffer> }
  /** Called once, when the reply has been sent or given up. */
  release?: () => void
}

export function xmlReply (body: string, headers: Reply['headers'] = {}): Reply {
  return { status: 200, headers: { 'content-type': 'application/xml', ...headers }, body }
}

/** Objects keep whole seconds, as HTTP dates do. */
export function secondsNow ({ now }: Settings): number {
  return Math.floor(now().getTime() / 1000) * 1000
}
