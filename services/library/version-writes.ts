import type { Collection, Db, Document } from 'mongodb'
import type { LibraryStateDocument } from '../../schemas/documents.js'
import { CONSISTENT } from '../database.js'
import { createLibraryState, type LibraryStates } from './state.js'

const WRITES = new Set(['insertOne', 'insertMany', 'updateOne', 'updateMany', 'replaceOne', 'bulkWrite'])
const DELETIONS = new Set(['deleteOne', 'deleteMany'])
/** They do not tell what they changed. */
const REFUSED = new Set(['findOneAndUpdate', 'findOneAndReplace', 'findOneAndDelete'])

/** The counts in the driver's results. */
interface WriteResult {
  insertedId?: unknown
  insertedCount?: number
  upsertedCount?: number
  deletedCount?: number
}

/**
 * The same collection, but every write through it ends with a new version of the library. The write is acknowledged
 * after both, and rejects if either fails. So no writer (upload, deletion, sweep, operator command) can forget the
 * version. An update that changes nothing makes one too: it may have found what another request has written, but not
 * versioned yet. Only a deletion that finds nothing makes none, because every refused upload ends with one.
 */
export function versionWrites<T extends Document> (
  library: Collection<T>,
  states: Pick<LibraryStates, 'changed'>
): Collection<T> {
  return new Proxy(library, {
    get (target, name: string) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (REFUSED.has(name)) return async () => { throw new Error(`${name} is refused on the library: use updateOne, replaceOne or deleteOne`) }
      const method = value.bind(target) as (...given: unknown[]) => Promise<WriteResult>
      if (!WRITES.has(name) && !DELETIONS.has(name)) return method
      return (...given: unknown[]) => versioned(method(...given), DELETIONS.has(name))
    }
  })

  async function versioned (write: Promise<WriteResult>, isDeletion: boolean): Promise<WriteResult> {
    const result = await write.catch((error: unknown) => {
      states.changed(0).catch(() => {}) // the write may be done all the same; the client does not wait for this
      throw error
    })
    const { insertedId, insertedCount = 0, upsertedCount = 0, deletedCount = 0 } = result
    const inserted = insertedId === undefined ? insertedCount + upsertedCount : 1
    if (!isDeletion || deletedCount > 0) await states.changed(inserted - deletedCount)
    return result
  }
}

/** The collection `library` of a database, for operator commands and tests. */
export function versionedLibrary<T extends Document> (db: Db): Collection<T> {
  const states = createLibraryState(db.collection<LibraryStateDocument>('library_state', CONSISTENT))
  return versionWrites(db.collection<T>('library', CONSISTENT), states)
}
