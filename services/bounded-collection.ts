import type { AbstractCursor, Collection, CollectionOptions, Document, Filter } from 'mongodb'
import { firstBatch } from './first-batch.js'
import { withinDeadline, maxCommandMs } from './request-deadline.js'
import type { TimedDatabase } from './timed-commands.js'

/** The command that a method sends, and the position of the options in its arguments. */
const COMMANDS: Record<string, [command: string, optionsAt: number]> = {
  countDocuments: ['aggregate', 1],
  insertOne: ['insert', 1],
  insertMany: ['insert', 1],
  deleteOne: ['delete', 1],
  deleteMany: ['delete', 1],
  findOneAndDelete: ['findAndModify', 1],
  distinct: ['distinct', 2],
  updateOne: ['update', 2],
  updateMany: ['update', 2],
  replaceOne: ['update', 2],
  findOneAndUpdate: ['findAndModify', 2],
  findOneAndReplace: ['findAndModify', 2]
}
const CURSORS: Record<string, number> = { find: 1, aggregate: 1 }
const READS = ['next', 'tryNext', 'hasNext', 'toArray']
type Method = (...given: unknown[]) => unknown

/**
 * A collection with time limits for commands: `maxTimeMS` on the server, here the rest of the request's time. Its
 * commands are timed.
 * A wrapper is needed because the driver's limits (`maxTimeMS`, `timeoutMS`, `socketTimeoutMS`) are constants of a
 * client, a collection or one call: none of them knows how much time the commands before this one have left. Every call
 * would have to pass it on, and one that does not would have no limit.
 */
export function boundedCollection<T extends Document> (
  database: TimedDatabase,
  name: string,
  options: CollectionOptions
): Collection<T> {
  const { time } = database
  const collection = database.collection<T>(name, options)
  return new Proxy(collection, {
    get (target, name: string) {
      if (name === 'findOne') return findOne
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const method = value.bind(target) as Method
      const [command, cursor] = [COMMANDS[name], CURSORS[name]]
      if (command) return (...given: unknown[]) => send(command[0], method, given, command[1])
      if (name === 'bulkWrite') return (...given: unknown[]) => send(firstCommand(given[0] as Document[]), method, given, 1)
      if (cursor === undefined) return value
      return (...given: unknown[]) => boundedCursor(method(...limited(given, cursor)) as AbstractCursor, name)
    }
  })

  async function findOne (
    filter: Filter<T> = {},
    options: { projection?: Document, sort?: Document } = {}
  ): Promise<Document | null> {
    const [row = null] = await firstBatch(database, collection, filter, { ...options, limit: 1 })
    return row
  }

  function send (command: string, method: Method, given: unknown[], optionsAt: number): Promise<unknown> {
    return withinDeadline(() => time(command, async () => method(...limited(given, optionsAt))))
  }

  function boundedCursor (cursor: AbstractCursor, first: string): AbstractCursor {
    const bounded: AbstractCursor = new Proxy(cursor, {
      get (target, name: string | symbol) {
        if (name === Symbol.asyncIterator) return () => each(target, first)
        const value: unknown = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        const method = value.bind(target) as Method
        if (READS.includes(String(name))) return () => read(target, first, async () => method())
        return (...given: unknown[]) => {
          const result = method(...given)
          return result === target ? bounded : result
        }
      }
    })
    return bounded
  }

  async function * each (cursor: AbstractCursor, first: string): AsyncGenerator<unknown, void, undefined> {
    try {
      for (;;) {
        const document: unknown = await read(cursor, first, () => cursor.next())
        if (document === null) return
        yield document
      }
    } finally {
      await cursor.close()
    }
  }

  /** `first` is the command that opens the cursor. A read sends none if the cursor holds rows or is at its end. */
  function read<R> (cursor: AbstractCursor, first: string, work: () => Promise<R>): Promise<R> {
    if (cursor.bufferedCount() > 0 || cursor.id?.isZero()) return withinDeadline(work)
    return withinDeadline(() => time(cursor.id ? 'getMore' : first, work))
  }
}

/** The first command of a bulk write. Most have no other. */
const firstCommand = ([operation = {}]: Document[]) => COMMANDS[Object.keys(operation)[0] ?? '']?.[0] ?? 'bulkWrite'

/** `given` with the time limit in its options, unless they have one. */
function limited (given: unknown[], at: number): unknown[] {
  const all = [...given]
  all[at] = { maxTimeMS: maxCommandMs(), ...given[at] as object }
  return all
}
