import type { Collection, Db, Document } from 'mongodb'
import type { LibraryStateDocument } from '../../schemas/documents.js'
import { FROM_PRIMARY } from '../database.js'
import { createLibraryState, type LibraryStates } from './state.js'

/** The writes that tell what they changed. The others (`findOneAnd…`) are not used on this collection. */
const WRITES = new Set([
  'insertOne', 'insertMany', 'updateOne', 'updateMany', 'replaceOne', 'deleteOne', 'deleteMany', 'bulkWrite'
])

/** The counts in the driver's results. */
interface WriteResult {
  insertedId?: unknown
  insertedCount?: number
  upsertedCount?: number
  modifiedCount?: number
  deletedCount?: number
}

/**
 * The same collection, but every write through it ends with a new version of the library, if it changed something. The
 * write is acknowledged after both, and rejects if either fails. So no writer (upload, deletion, sweep, operator
 * command) can forget the version.
 */
export function versionWrites<T extends Document> (
  library: Collection<T>,
  states: Pick<LibraryStates, 'changed'>
): Collection<T> {
  return new Proxy(library, {
    get (target, name: string) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const method = value.bind(target) as (...given: unknown[]) => unknown
      return WRITES.has(name) ? async (...given: unknown[]) => versioned(await method(...given) as WriteResult) : method
    }
  })

  async function versioned (result: WriteResult): Promise<WriteResult> {
    const { insertedId, insertedCount = 0, upsertedCount = 0, modifiedCount = 0, deletedCount = 0 } = result
    const inserted = insertedId === undefined ? insertedCount + upsertedCount : 1
    if (inserted + modifiedCount + deletedCount > 0) await states.changed(inserted - deletedCount)
    return result
  }
}

/** The collection `library` of a database, for operator commands and for all who are not the service. */
export function versionedLibrary<T extends Document> (db: Db): Collection<T> {
  const states = createLibraryState(db.collection<LibraryStateDocument>('library_state', FROM_PRIMARY))
  return versionWrites(db.collection<T>('library', FROM_PRIMARY), states)
}
