import { MongoNetworkError, MongoServerError, type Db, type Document, type Filter, type WithId } from 'mongodb'
import { withinDeadline, maxCommandMs } from '../request-deadline.js'
import { isOverTimeLimit } from '../errors.js'

/**
 * Returns what `find(filter, options).toArray()` gives if the rows fit into one batch (16 MiB). It makes no cursor, and
 * so costs little more than half of the driver's work (bench/README.md). Uses the database's read preference. Retries a
 * failure once, as the driver does with a cursor (Retryable Reads specification).
 */
export async function firstBatch<T extends Document> (
  db: Db,
  collection: string,
  filter: Filter<T>,
  { sort, skip, limit, projection }: { sort: Document, skip: number, limit: number, projection: Document }
): Promise<Array<WithId<T>>> {
  const command = {
    find: collection,
    filter,
    sort,
    skip,
    limit,
    batchSize: limit,
    singleBatch: true,
    projection,
    ...(db.readConcern && { readConcern: db.readConcern })
  }
  const run = () =>
    withinDeadline(() => db.command({ ...command, maxTimeMS: maxCommandMs() }, { readPreference: db.readPreference }))
  const { cursor } = await run().catch(error => {
    if (error instanceof MongoNetworkError || (error instanceof MongoServerError && !isOverTimeLimit(error))) {
      return run()
    }
    throw error
  })
  return cursor.firstBatch
}
