import {
  MongoBulkWriteError,
  ObjectId,
  type Collection,
  type Filter,
  type FindCursor,
  type UpdateFilter
} from 'mongodb'
import { DUPLICATE_KEY, isDuplicateKey } from '../errors.js'
import {
  changeOf,
  uniqueValuesOf,
  duplicateOf,
  GAVE_NAME_UP,
  type Change,
  type UniqueValues,
  type Holders,
  type Note,
  type OldUser,
  type Rules
} from './users.js'

const FIELDS: Array<keyof OldUser> = [
  'number', 'username', 'username_key', 'admin', 'blocked', 'duplicate_of', 'old_number', 'schema',
  'key_given_up'
]

/** The most races with writes to one row. More than that means another fault. */
const MAX_RACES = 100

/**
 * Rows read and written at a time. The driver's own batches are 16 MB. A single write costs a round trip and a flush to
 * disk.
 */
const BATCH = 500
export const BY_BATCH = { batchSize: BATCH }

/**
 * Converts the rows of `users`, oldest first, by one compare-and-set each. The unique indexes, which must exist, tell
 * whether a number or a name is taken. The older of two rows keeps it, whichever is written first. So the run can stop
 * anywhere and be repeated, and the service may write meanwhile.
 */
export async function convertUserRows (users: Collection<OldUser>, rules: Rules, note: Note): Promise<void> {
  const { region } = rules
  const unconverted = users.find({ schema: { $ne: 2 } }, BY_BATCH).sort({ _id: 1 })
  for await (const rows of batches(unconverted)) await convertBatch(rows)

  /** Writes rows without a conflict at once, then converts the others one by one. */
  async function convertBatch (rows: OldUser[]): Promise<void> {
    const planned = rows.map(row => ({ row, change: changeOf(row, uniqueValuesOf(row, region), {}, rules) }))
    const writing = planned.filter(({ change }) => updateOf(change))
    const { matched, refused } = await writeAll(writing)
    const stale = matched < writing.length - refused.size
    for (const { row, change } of planned) {
      if (refused.has(row)) continue
      if (!stale || await isConverted(row)) noteRow(row, change)
      else refused.add(row)
    }
    for (const row of rows) if (refused.has(row)) await convert(row)
  }

  async function writeAll (writing: Array<{ row: OldUser, change: Change }>): Promise<{
    matched: number
    refused: Set<OldUser>
  }> {
    if (writing.length === 0) return { matched: 0, refused: new Set() }
    try {
      const { matchedCount } = await users.bulkWrite(
        writing.map(({ row, change }) => ({ updateOne: { filter: asRead(row, FIELDS), update: updateOf(change)! } })),
        { ordered: false }
      )
      return { matched: matchedCount, refused: new Set() }
    } catch (error) {
      if (!(error instanceof MongoBulkWriteError)) throw error
      const errors = [error.writeErrors].flat()
      if (errors.length === 0 || errors.some(({ code }) => code !== DUPLICATE_KEY)) throw error
      return { matched: error.matchedCount, refused: new Set(errors.map(({ index }) => writing[index]!.row)) }
    }
  }

  async function isConverted ({ _id }: OldUser): Promise<boolean> {
    const row = await users.findOne({ _id })
    return row !== null && updateOf(changeOf(row, uniqueValuesOf(row, region), {}, rules)) === undefined
  }

  async function convert (found: OldUser): Promise<void> {
    let row = found
    let held: Holders = {}
    for (let race = 0; race < MAX_RACES; race++) {
      const values = uniqueValuesOf(row, region)
      const change = changeOf(row, values, held, rules)
      try {
        const update = updateOf(change)
        if (held.phone && row.blocked === true) await block(held.phone)
        if (!update || (await users.updateOne(asRead(row, FIELDS), update)).matchedCount === 1) {
          return noteRow(row, change)
        }
        const changed = await users.findOne({ _id: row._id })
        if (!changed) return
        row = changed
        held = {}
      } catch (error) {
        if (!isDuplicateKey(error)) throw error
        held = await olderHolders(row._id, values)
      }
    }
    throw new Error(
      `The row ${String(found._id)} of users changed ${MAX_RACES} times while it was converted: stop every instance, run it again`
    )
  }

  function noteRow ({ _id }: OldUser, { done, open }: Change): void {
    note(`users ${String(_id)}`, done, open)
  }

  /** Blocks the keeper before it gets the number, so that an interrupted run unblocks no phone. */
  async function block (keeper: ObjectId): Promise<void> {
    await users.updateOne({ _id: keeper }, { $set: { blocked: true } })
  }

  /** The older rows that hold the claimed values. A newer row gives its value up and is not returned. */
  async function olderHolders (id: ObjectId, { phone, key }: UniqueValues): Promise<Holders> {
    return {
      phone: phone === undefined
        ? undefined
        : await olderHolder(id, { number: phone }, holder => giveNumberUp(holder, id, phone, key)),
      key: key === undefined ? undefined : await olderHolder(id, { username_key: key }, giveNameUp)
    }
  }

  async function olderHolder (
    id: ObjectId,
    value: { number: string } | { username_key: string },
    giveUp: (holder: OldUser) => Promise<void>
  ): Promise<ObjectId | undefined> {
    const holder = await users.findOne({ ...value, _id: { $ne: id } })
    if (!holder) return undefined
    if (holder._id instanceof ObjectId && holder._id.toHexString() < id.toHexString()) return holder._id
    await giveUp(holder)
    return undefined
  }

  /**
   * Takes the claimed name too: a row with the name but without the number would keep the owner of both from signing in
   * until the claimant has them.
   */
  async function giveNumberUp (
    holder: OldUser,
    claimant: ObjectId,
    phone: string,
    key: string | undefined
  ): Promise<void> {
    const named = key !== undefined && holder.username_key === key
    if (holder.blocked === true) await block(claimant)
    const givenUp = { number: '', ...(named && { username_key: '' as const }) } as const
    const done = [duplicateOf(claimant, phone, holder), ...(named ? [GAVE_NAME_UP] : [])]
    const set = { duplicate_of: claimant, old_number: phone, ...(named && noteOfName(holder)) }
    await takeFrom(holder, ['number', 'username_key', 'blocked'], { $unset: givenUp, $set: set }, done)
  }

  async function giveNameUp (holder: OldUser): Promise<void> {
    await takeFrom(holder, ['username_key'], {
      $unset: { username_key: '' },
      ...(holder.schema !== 2 && { $set: noteOfName(holder) })
    }, [GAVE_NAME_UP])
  }

  /** A converted row needs none. */
  function noteOfName ({ schema }: OldUser): { key_given_up?: true } {
    return schema === 2 ? {} : { key_given_up: true }
  }

  async function takeFrom (
    holder: OldUser,
    fields: Array<keyof OldUser>,
    update: UpdateFilter<OldUser>,
    done: string[]
  ): Promise<void> {
    const { matchedCount } = await users.updateOne(asRead(holder, fields), update)
    if (matchedCount === 1) note(`users ${String(holder._id)}`, done)
  }
}

function updateOf ({ set, unset }: Change): UpdateFilter<OldUser> | undefined {
  const update = {
    ...(Object.keys(set).length > 0 && { $set: set }),
    ...(Object.keys(unset).length > 0 && { $unset: unset })
  }
  return Object.keys(update).length > 0 ? update as UpdateFilter<OldUser> : undefined
}

/**
 * Lets the unique indexes be built: of rows with an identical number or key, all but the oldest set it aside until they
 * are converted.
 */
export async function setDuplicatesAside (users: Collection<OldUser>): Promise<void> {
  await putAside('number', number => ({ $unset: { number: '' }, $set: { old_number: number, duplicate_of: null } }))
  await putAside('username_key', () => ({ $unset: { username_key: '' }, $set: { key_given_up: true } }))

  async function putAside (
    field: 'number' | 'username_key',
    update: (value: unknown) => UpdateFilter<OldUser>
  ): Promise<void> {
    let last: unknown
    const inOrder = users
      .find({ [field]: { $gt: '' } }, { projection: { [field]: 1 }, ...BY_BATCH })
      .sort({ [field]: 1, _id: 1 })
      .allowDiskUse(true)
    for await (const row of inOrder) {
      const value = row[field]
      if (value === last) await users.updateOne(asRead(row, [field]), update(value))
      last = value
    }
  }
}

/** Matches the row only while these fields have the values that were read. */
export const asRead = <T extends { _id: ObjectId }>(row: T, fields: Array<keyof T & string>) =>
  ({
    _id: row._id,
    ...Object.fromEntries(fields.map(field =>
      [field, row[field] === undefined ? { $exists: false } : { $eq: row[field] }]))
  }) as Filter<T>

/** Yields the rows of a cursor, 500 at a time. */
export async function * batches <T> (cursor: FindCursor<T>): AsyncGenerator<T[]> {
  let batch: T[] = []
  for await (const row of cursor) {
    if (batch.push(row) < BATCH) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
