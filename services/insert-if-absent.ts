import type { Collection, Document, OptionalUnlessRequiredId } from 'mongodb'
import { isDuplicateKey } from './errors.js'

/** Inserts a document. False if a unique index has one of its values already. */
export async function insertIfAbsent<T extends Document> (
  collection: Collection<T>,
  document: OptionalUnlessRequiredId<T>
): Promise<boolean> {
  try {
    await collection.insertOne(document)
    return true
  } catch (error) {
    if (isDuplicateKey(error)) return false
    throw error
  }
}
