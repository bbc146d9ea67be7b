import type {
  Collection,
  Db,
  DeleteResult,
  Document,
  Filter,
  UpdateFilter,
  UpdateOptions,
  UpdateResult
} from 'mongodb'
import type { LibraryStateDocument } from '../../schemas/documents.js'
import { CONSISTENT } from '../database.js'
import { createLibraryState, type LibraryStates } from './state.js'

/** None of these hides or shows an item. */
const WRITES = new Set(['insertOne', 'insertMany', 'updateMany', 'replaceOne', 'bulkWrite'])
/** They do not tell what they changed. */
const REFUSED = new Set(['findOneAndUpdate', 'findOneAndReplace', 'findOneAndDelete'])

/** The counts in the driver's results. */
interface Counts {
  insertedId?: unknown
  insertedCount?: number
  upsertedCount?: number
  deletedCount?: number
}

/** A write that is done. `added` and `hidden`: by how much the numbers of shown and of hidden items grew. */
interface Written<Result> { result: Result, added: number, hidden?: number, foundNothing?: boolean }

/**
 * The same collection, but every write through it ends with a new version of the library. The write is acknowledged
 * after both, and rejects if either fails. So no writer (upload, deletion, review, sweep, operator command) can forget
 * the version. An update that changes nothing makes one too: it may have found what another request has written, but
 * not versioned yet. Only a deletion that finds nothing makes none, because every refused upload ends with one. The
 * total has no hidden items: a deletion of one item, and an update of `hidden`, go by the row that they found.
 */
export function versionWrites<T extends Document> (
  library: Collection<T>,
  states: Pick<LibraryStates, 'changed'>
): Collection<T> {
  const own: Record<string, unknown> = {
    deleteOne: (filter: Filter<T>) => versioned(deleteOne(filter)),
    /** For tests. It takes all that it finds for items that are not hidden. */
    deleteMany: (filter: Filter<T>) => versioned(library.deleteMany(filter).then(result =>
      ({ ...counted(result), foundNothing: result.deletedCount === 0 }))),
    updateOne: (filter: Filter<T>, update: UpdateFilter<T>, options?: UpdateOptions) =>
      versioned(changesHidden(update)
        ? updateHidden(filter, update)
        : library.updateOne(filter, update, options).then(counted))
  }
  return new Proxy(library, {
    get (target, name: string) {
      if (Object.hasOwn(own, name)) return own[name]
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (REFUSED.has(name)) return async () => { throw new Error(`${name} is refused on the library: use updateOne, replaceOne or deleteOne`) }
      const method = value.bind(target) as (...given: unknown[]) => Promise<Counts>
      return WRITES.has(name) ? (...given: unknown[]) => versioned(method(...given).then(counted)) : method
    }
  })

  async function versioned<Result> (write: Promise<Written<Result>>): Promise<Result> {
    const { result, added, hidden, foundNothing } = await write.catch((error: unknown) => {
      states.changed(0).catch(() => {}) // the write may be done all the same; the client does not wait for this
      throw error
    })
    if (!foundNothing) await states.changed(added, hidden)
    return result
  }

  async function deleteOne (filter: Filter<T>): Promise<Written<DeleteResult>> {
    const row = await library.findOneAndDelete(filter)
    return {
      result: { acknowledged: true, deletedCount: row ? 1 : 0 },
      added: row && !row.hidden ? -1 : 0,
      hidden: row?.hidden ? -1 : 0,
      foundNothing: row === null
    }
  }

  async function updateHidden (filter: Filter<T>, update: UpdateFilter<T>): Promise<Written<UpdateResult<T>>> {
    const before = await library.findOneAndUpdate(filter, update)
    const matched = before ? 1 : 0
    const added = before ? Number(!isHiding(update)) - Number(!before.hidden) : 0
    return {
      result: { acknowledged: true, matchedCount: matched, modifiedCount: matched, upsertedCount: 0, upsertedId: null },
      added,
      hidden: -added
    }
  }
}

function counted<Result extends Counts> (result: Result): Written<Result> {
  const { insertedId, insertedCount = 0, upsertedCount = 0, deletedCount = 0 } = result
  const inserted = insertedId === undefined ? insertedCount + upsertedCount : 1
  return { result, added: inserted - deletedCount }
}

const isHiding = ({ $set }: Document) => $set?.hidden !== undefined
const changesHidden = (update: Document) => isHiding(update) || update.$unset?.hidden !== undefined

/** The collection `library` of a database, for operator commands and tests. */
export function versionedLibrary<T extends Document> (db: Db): Collection<T> {
  const states = createLibraryState(db.collection<LibraryStateDocument>('library_state', CONSISTENT))
  return versionWrites(db.collection<T>('library', CONSISTENT), states)
}
