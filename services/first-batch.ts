import {
  MongoNetworkError,
  MongoServerError,
  type Collection,
  type Db,
  type Document,
  type Filter,
  type WithId
} from 'mongodb'
import { isOverTimeLimit } from './errors.js'
import { maxCommandMs, withinDeadline } from './request-deadline.js'

export interface FirstBatchOptions { limit: number, skip?: number, sort?: Document, projection?: Document }

/**
 * Returns what `find(filter, options).toArray()` gives if the rows fit into one batch (16 MiB). It makes no cursor, and
 * so costs little more than half of the driver's work (bench/README.md). `db` is the collection's. Retries a failure
 * once, as the driver does with a cursor (Retryable Reads specification).
 */
export async function firstBatch<T extends Document> (
  db: Pick<Db, 'command'>,
  collection: Collection<T>,
  filter: Filter<T>,
  options: FirstBatchOptions
): Promise<Array<WithId<T>>> {
  const { collectionName, bsonOptions, readConcern, readPreference } = collection
  const command = {
    find: collectionName,
    filter,
    ...options,
    batchSize: options.limit,
    singleBatch: true,
    ...(readConcern && { readConcern })
  }
  const run = () =>
    withinDeadline(() => db.command({ ...command, maxTimeMS: maxCommandMs() }, { ...bsonOptions, readPreference }))
  const { cursor } = await run().catch(error => {
    if (error instanceof MongoNetworkError || (error instanceof MongoServerError && !isOverTimeLimit(error))) {
      return run()
    }
    throw error
  })
  return cursor.firstBatch
}
