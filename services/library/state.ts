import { randomUUID } from 'node:crypto'
import type { Collection } from 'mongodb'
import type { LibraryStateDocument } from '../../schemas/documents.js'
import { insertIfAbsent } from '../insert-if-absent.js'
import { withOwnDeadline } from '../request-deadline.js'
import { createSharedRead } from './shared-read.js'

const _id = 'library'

/** Which state of the library a list belongs to. */
export type LibraryState = Omit<LibraryStateDocument, '_id'>

export type LibraryStates = ReturnType<typeof createLibraryState>

/**
 * The version of the library and its exact number of items, in one document that every writer changes after its write
 * and before its acknowledgement. So a list made for the version that is there now misses no acknowledged write of any
 * instance. A version is random: none comes twice, whatever a failover or a restore takes back.
 */
export function createLibraryState (states: Collection<LibraryStateDocument>) {
  return { read: createSharedRead(() => withOwnDeadline(read)), changed, correct }

  /** Makes the document if there is none: at the first start, and after an operator has deleted it. */
  async function read (): Promise<LibraryState> {
    for (;;) {
      const state = await states.findOne({ _id })
      if (state) return state
      await insertIfAbsent(states, { _id, version: randomUUID(), total: 0, hidden: 0, counted: false })
    }
  }

  /**
   * Writes a new version after a write that added this many items, and this many hidden ones. It has its own time,
   * because the write is done already.
   */
  async function changed (added: number, hidden = 0): Promise<void> {
    await withOwnDeadline(() =>
      states.updateOne({ _id }, { $set: { version: randomUUID() }, $inc: { total: added, hidden } }))
  }

  /**
   * Adds the difference to the total, which then counts as exact, sets the number of hidden items, and writes a new
   * version. False if another write has changed the version meanwhile.
   */
  async function correct (version: string, difference: number, hidden: number): Promise<boolean> {
    const { matchedCount } = await states.updateOne({ _id, version }, {
      $set: { version: randomUUID(), counted: true, hidden },
      $inc: { total: difference }
    })
    return matchedCount === 1
  }
}
