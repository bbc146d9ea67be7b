import type { Body } from './body.js'
import type { Store } from './store.js'
import type { Target } from './target.js'

/** One authenticated request on its way to an operation. */
export interface Call extends Target {
  /** Whether the owner signed it. Other callers are anonymous. */
  readonly isOwner: boolean
  readonly body: Body
  readonly store: Store
  readonly settings: Settings
}

export interface Settings {
  readonly region: string
  readonly now: () => Date
  readonly credentials: { accessKeyId: string, secretAccessKey: string }
}

export interface Reply {
  status: number
  headers?: Record<string, string | undefined>
  /** For HEAD only its length is sent. */
  body?: string | { length: number, bytes: AsyncIterable<Buffer> }
  /** Called once, when the reply has been sent or given up. */
  release?: () => void
}

export function xmlReply (body: string): Reply {
  return { status: 200, headers: { 'content-type': 'application/xml' }, body }
}

/** Objects keep whole seconds, as HTTP dates do. */
export function secondsNow ({ now }: Settings): number {
  return Math.floor(now().getTime() / 1000) * 1000
}

export function quoted (etag: string): string {
  return `"${etag}"`
}
