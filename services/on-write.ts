import type { Collection, Document } from 'mongodb'

const WRITES = [
  'insertOne', 'insertMany', 'updateOne', 'updateMany', 'replaceOne', 'deleteOne', 'deleteMany', 'findOneAndUpdate',
  'findOneAndReplace', 'findOneAndDelete', 'bulkWrite'
] as const

/**
 * Calls `tell` after every write through this very object, also after one that failed. So no writer (upload, removal,
 * deletion of an account, sweep) can forget to tell, and none of them depends on the list.
 */
export function onWrite<T extends Document> (collection: Collection<T>, tell: () => void): void {
  for (const name of WRITES) {
    const write = collection[name].bind(collection) as (...args: unknown[]) => Promise<unknown>
    Object.assign(collection, { [name]: (...args: unknown[]) => write(...args).finally(tell) })
  }
}
