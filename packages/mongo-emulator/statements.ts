import { BSONRegExp } from 'bson'
import type { Collection } from './catalog.js'
import { equalValues } from './compare.js'
import { describe } from './describe.js'
import { CommandError } from './errors.js'
import type { Source } from './execute.js'
import { matches, type Filter, type MatchDetails } from './match.js'
import { findRecords, type Query } from './queries.js'
import type { Records, StoredRecord } from './records.js'
import type { Update } from './update/parse.js'
import { idFirst, upsertDocument } from './update/upsert.js'
import { typeName, type Doc, type Value } from './values.js'

/** Inserts one document, with `_id` as its first field. Throws CommandError 53 for an `_id` of a forbidden type. */
export function insertDocument (records: Records, collection: Collection, doc: Doc): void {
  const prepared = idFirst(doc)
  checkId(prepared.get('_id'))
  records.insert(collection, prepared)
}

function checkId (id: Value | undefined): void {
  if (Array.isArray(id) || id instanceof BSONRegExp) {
    throw new CommandError(53, `The '_id' value cannot be of type ${typeName(id)}`)
  }
}

/** The result of an update statement. */
export interface Updated {
  matched: number
  modified: number
  upserted: Value | undefined
  before: Doc | undefined
  after: Doc | undefined
}

/** Runs an update on what the query finds: on the first document, or on all of them. */
export function updateMatching (
  source: Source,
  query: Query,
  update: Update,
  options: { multi: boolean, upsert: boolean }
): Updated {
  const { records, collection } = source
  const result: Updated = { matched: 0, modified: 0, upserted: undefined, before: undefined, after: undefined }
  for (const record of recordNumbers(source, query, options.multi)) {
    const stored = records.read(collection, record)
    const details: MatchDetails = {}
    if (stored === undefined || !matches(query.filter, stored.doc, details)) continue
    result.matched++
    const successor = succeed(stored, update, details)
    if (!options.multi) Object.assign(result, { before: records.read(collection, record)?.doc, after: successor })
    if (records.replace(collection, stored, successor)) result.modified++
  }
  if (result.matched === 0 && options.upsert) {
    Object.assign(result, upsert(source, query.filter, update))
  }
  return result
}

/** All records are found before the first is changed, so that none is met again in its new place. */
function recordNumbers (source: Source, query: Query, multi: boolean): number[] {
  const numbers: number[] = []
  for (const { record } of findRecords(source, { ...query, limit: multi ? Infinity : 1 }, { keys: 0, docs: 0 })) {
    numbers.push(record)
  }
  return numbers
}

function succeed ({ doc }: StoredRecord, update: Update, details: MatchDetails): Doc {
  const id = doc.get('_id')
  const successor = update.apply(doc, details, false)
  const newId = successor.get('_id')
  if (id === undefined || newId === undefined || !equalValues(id, newId) || typeName(id) !== typeName(newId)) {
    throw new CommandError(
      66,
      `After applying the update, the (immutable) field '_id' was found to have been altered to _id: ${describe(newId)}`
    )
  }
  return successor
}

function upsert ({ records, collection }: Source, filter: Filter, update: Update): Partial<Updated> {
  const doc = upsertDocument(filter, update)
  insertDocument(records, collection, doc)
  return { upserted: doc.get('_id'), after: doc }
}

/** Deletes the first document that the query finds, or all. Returns their number, and the last of them. */
export function deleteMatching (source: Source, query: Query, multi: boolean): { deleted: number, last?: Doc } {
  const result: { deleted: number, last?: Doc } = { deleted: 0 }
  for (const record of recordNumbers(source, query, multi)) {
    const stored = source.records.read(source.collection, record)
    if (stored === undefined) continue
    source.records.remove(source.collection, stored)
    result.deleted++
    result.last = stored.doc
  }
  return result
}
