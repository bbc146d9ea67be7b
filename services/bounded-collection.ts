import type { AbstractCursor, Collection, CollectionOptions, Db, Document, Filter } from 'mongodb'
import { firstBatch } from './first-batch.js'
import { withinDeadline, maxCommandMs } from './request-deadline.js'

/** The position of the options in a method's arguments. */
const COMMANDS: Record<string, number> = {
  countDocuments: 1,
  insertOne: 1,
  insertMany: 1,
  deleteOne: 1,
  deleteMany: 1,
  findOneAndDelete: 1,
  bulkWrite: 1,
  distinct: 2,
  updateOne: 2,
  updateMany: 2,
  replaceOne: 2,
  findOneAndUpdate: 2,
  findOneAndReplace: 2
}
const CURSORS: Record<string, number> = { find: 1, aggregate: 1 }
const READS = ['next', 'tryNext', 'hasNext', 'toArray']
type Method = (...given: unknown[]) => unknown

/**
 * A collection with time limits for commands: `maxTimeMS` on the server, here the rest of the request's time.
 * A wrapper is needed because the driver's limits (`maxTimeMS`, `timeoutMS`, `socketTimeoutMS`) are constants of a
 * client, a collection or one call: none of them knows how much time the commands before this one have left. Every call
 * would have to pass it on, and one that does not would have no limit.
 */
export function boundedCollection<T extends Document> (
  db: Db,
  name: string,
  options: CollectionOptions
): Collection<T> {
  const collection = db.collection<T>(name, options)
  return new Proxy(collection, {
    get (target, name: string) {
      if (name === 'findOne') return findOne
      const value: unknown = Reflect.get(target, name, target)
      const [command, cursor] = [COMMANDS[name], CURSORS[name]]
      if (typeof value !== 'function' || (command === undefined && cursor === undefined)) return value
      const method = value.bind(target) as Method
      if (command !== undefined) {
        return (...given: unknown[]) => withinDeadline(async () => method(...timed(given, command)))
      }
      return (...given: unknown[]) => boundedCursor(method(...timed(given, cursor!)) as AbstractCursor)
    }
  })

  async function findOne (
    filter: Filter<T> = {},
    options: { projection?: Document, sort?: Document } = {}
  ): Promise<Document | null> {
    const [row = null] = await firstBatch(db, collection, filter, { ...options, limit: 1 })
    return row
  }
}

/** `given` with the time limit in its options, unless they have one. */
function timed (given: unknown[], at: number): unknown[] {
  const all = [...given]
  all[at] = { maxTimeMS: maxCommandMs(), ...given[at] as object }
  return all
}

function boundedCursor (cursor: AbstractCursor): AbstractCursor {
  const bounded: AbstractCursor = new Proxy(cursor, {
    get (target, name: string | symbol) {
      if (name === Symbol.asyncIterator) return () => each(target)
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const method = value.bind(target) as Method
      if (READS.includes(String(name))) return () => withinDeadline(async () => method())
      return (...given: unknown[]) => {
        const result = method(...given)
        return result === target ? bounded : result
      }
    }
  })
  return bounded
}

async function * each (cursor: AbstractCursor): AsyncGenerator<unknown, void, undefined> {
  try {
    for (;;) {
      const document: unknown = await withinDeadline(() => cursor.next())
      if (document === null) return
      yield document
    }
  } finally {
    await cursor.close()
  }
}
