import type { Catalog } from '../catalog.js'
import type { Cursors } from '../cursors.js'
import type { FailPoints } from '../fail-points.js'
import type { Records } from '../records.js'
import type { Sessions } from '../sessions.js'
import type { Storage } from '../storage.js'
import type { Doc, Plain } from '../values.js'

/** Everything a command may use. */
export interface Services {
  storage: Storage
  catalog: Catalog
  records: Records
  cursors: Cursors
  sessions: Sessions
  failPoints: FailPoints
  now: () => Date
  /** `host:port` as clients reach it. */
  address: string
}

export interface Request {
  name: string
  database: string
  body: Doc
  connectionId: number
}

export type Reply = { [name: string]: Plain }

export interface Command {
  /** The fields besides the generic ones; any other is error 40415. `undefined` accepts all, as for handshakes. */
  fields: string[] | undefined
  /** It changes data, and is one transaction. */
  writes?: boolean
  run: (request: Request, services: Services) => Reply
}

export type CommandTable = Record<string, Command>
