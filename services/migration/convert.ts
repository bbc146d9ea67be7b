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
  GAVE_NAME_UP,
  isAccount,
  isOlder,
  mergeOf,
  nameToTake,
  REMOVED,
  uniqueValuesOf,
  type Change,
  type Note,
  type OldUser,
  type Rules,
  type UniqueValues
} from './users.js'

/** What the rules read of a row, and what a write compares. */
export const FIELDS: Array<keyof OldUser> = [
  'number', 'username', 'username_key', 'admin', 'blocked', 'duplicate_of', 'old_number', 'schema',
  'key_given_up', 'merged', 'deleting'
]

/** Rows that are not converted, and those that 0.3.0 kept beside the row that has their number. */
export const UNCONVERTED: Filter<OldUser> = { $or: [{ schema: { $ne: 2 } }, { duplicate_of: { $exists: true } }] }

/** The most races with writes to one row. More than that means another fault. */
const MAX_RACES = 100

/**
 * Rows read and written at a time. The driver's own batches are 16 MB. A single write costs a round trip and a flush to
 * disk.
 */
const BATCH = 500
export const BY_BATCH = { batchSize: BATCH }

export interface UserCollections { users: Collection<OldUser>, released: Collection<{ _id: string }> }

/**
 * Converts the rows of `users`, oldest first, by one compare-and-set each. Rows with one number become one account: the
 * one that the service made for the number, else the oldest row. The unique indexes, which must exist, tell whether a
 * number or a name is taken. The older of two accounts keeps the unique name. So the run can stop anywhere and be
 * repeated, and the service may write meanwhile.
 */
export async function convertUserRows (
  { users, released }: UserCollections,
  rules: Rules,
  note: Note,
  progress: (rows: number) => void = () => {}
): Promise<void> {
  const { region } = rules
  const unconverted = users.find(UNCONVERTED, BY_BATCH).sort({ _id: 1 })
  for await (const rows of batches(unconverted)) {
    await convertBatch(rows)
    progress(rows.length)
  }

  /** Writes rows without a conflict at once, then converts the others one by one, in their order. */
  async function convertBatch (rows: OldUser[]): Promise<void> {
    const givenUp = [...await findDeleted(released, rows, region), ...await findFormer(rows)]
    const alone = rowsToConvertAlone(rows, givenUp)
    const planned = rows.filter(row => !alone.has(row)).map(row => ({
      row,
      change: changeOf(row, uniqueValuesOf(row, region), undefined, rules)
    }))
    const writing = planned.filter(({ change }) => updateOf(change))
    const { matched, refused } = await writeAll(writing)
    const stale = matched < writing.length - refused.size
    for (const { row, change } of planned) {
      if (refused.has(row) || (stale && !await isConverted(row))) alone.add(row)
      else noteRow(row, change)
    }
    for (const row of rows) if (alone.has(row)) await convert(row)
  }

  /** Rows that were duplicates, and rows with a number or a name that a row before them has, or an account had. */
  function rowsToConvertAlone (rows: OldUser[], givenUp: string[]): Set<OldUser> {
    const numbers = new Set<string | undefined>(givenUp)
    const names = new Set<string | undefined>()
    const alone = new Set<OldUser>()
    for (const row of rows) {
      const { phone, key } = uniqueValuesOf(row, region)
      const isRepeat = (phone !== undefined && numbers.has(phone)) || (key !== undefined && names.has(key))
      if (isRepeat || row.duplicate_of instanceof ObjectId) alone.add(row)
      numbers.add(phone)
      names.add(key)
    }
    return alone
  }

  /** Which numbers of these rows an account of this service had before another one. */
  async function findFormer (rows: OldUser[]): Promise<string[]> {
    const filter = { 'former_numbers.number': { $in: phonesOf(rows, region) } }
    const accounts = await users.find(filter, { projection: { former_numbers: 1 } }).toArray()
    return accounts.flatMap(({ former_numbers: numbers = [] }) => numbers.map(({ number }) => number))
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
    return row !== null && updateOf(changeOf(row, uniqueValuesOf(row, region), undefined, rules)) === undefined
  }

  /** Each attempt reads the row and what conflicts with it anew. An attempt ends with a write, or a race is lost. */
  async function convert ({ _id }: OldUser): Promise<void> {
    for (let race = 0; race < MAX_RACES; race++) {
      const row = await users.findOne({ _id })
      if (!row || await attempt(row)) return
    }
    throw new Error(
      `The row ${String(_id)} of users changed ${MAX_RACES} times while it was converted: stop every instance, run it again`
    )
  }

  /** Whether the row is converted, or merged into another. */
  async function attempt (row: OldUser): Promise<boolean> {
    const values = uniqueValuesOf(row, region)
    if (values.phone !== undefined && await released.findOne({ _id: values.phone })) return remove(row)
    const account = await accountFor(row, values)
    if (account === 'changed') return false
    if (account) {
      const merged = await merge(account, row)
      if (merged !== 'full') return merged
      if (row.blocked === true) await block(account)
      values.full = account._id
      delete values.phone
    }
    try {
      const change = changeOf(row, values, await olderNameHolder(row, values.key), rules)
      const update = updateOf(change)
      if (update && (await users.updateOne(asRead(row, FIELDS), update)).matchedCount === 0) return false
      noteRow(row, change)
      return true
    } catch (error) {
      if (isDuplicateKey(error)) return false
      throw error
    }
  }

  /**
   * The account that a row belongs to, if that is another row. If the row is the account, a newer row that has its
   * number gives it up, and is merged later. 'changed': the rows are to be read again.
   */
  async function accountFor (row: OldUser, { phone }: UniqueValues): Promise<OldUser | 'changed' | null> {
    if (row.duplicate_of instanceof ObjectId) return keeperOfDuplicate(users, row.duplicate_of)
    if (phone === undefined) return null
    const former = await users.findOne({ 'former_numbers.number': phone, _id: { $ne: row._id } })
    if (former) return former
    const holder = await users.findOne({ number: phone, _id: { $ne: row._id } })
    if (!holder) return null
    if (isAccount(holder, rules) || isOlder(holder, row)) return holder
    if (holder.blocked === true) await block(row) // before it has the number, so that no phone is unblocked
    await users.updateOne(
      { ...asRead(holder, FIELDS), ...asRead(holder, ['sessions']) },
      { $unset: { number: '' }, $set: { old_number: phone, duplicate_of: null } }
    )
    return 'changed'
  }

  /** The user has deleted the account that the service made for the number. */
  async function remove (row: OldUser): Promise<boolean> {
    if (!await deleteAsRead(row)) return false
    note(`users ${String(row._id)}`, [REMOVED])
    return true
  }

  /** The service may sign in to a row that is not converted, so it goes only as it was read. */
  async function deleteAsRead (row: OldUser): Promise<boolean> {
    const { deletedCount } = await users.deleteOne({ ...asRead(row, FIELDS), ...asRead(row, ['sessions']) })
    return deletedCount === 1
  }

  async function block ({ _id, sessions }: OldUser): Promise<void> {
    await users.updateOne({ _id }, { $set: { blocked: true, ...(sessions !== undefined && { sessions: [] }) } })
  }

  /**
   * Takes a row into an account by two writes. A run that stops between them leaves both rows, and the next one goes
   * on.
   */
  async function merge (account: OldUser, row: OldUser): Promise<boolean | 'full'> {
    const key = nameToTake(account, row, region)
    const change = mergeOf(account, row, await olderNameHolder(row, key), rules)
    if (!change) return 'full'
    if (key !== undefined && row.username_key === key) {
      await giveNameUp(row)
      return false
    }
    try {
      const update = updateOf(change)
      if (update && (await users.updateOne(asRead(account, FIELDS), update)).matchedCount === 0) return false
    } catch (error) {
      if (isDuplicateKey(error)) return false
      throw error
    }
    if (!await deleteAsRead(row)) return false
    noteRow(row, change)
    return true
  }

  /** The older row that has the name. A newer one gives it up. */
  async function olderNameHolder (row: OldUser, key: string | undefined): Promise<ObjectId | undefined> {
    const holder = key === undefined ? null : await users.findOne({ username_key: key, _id: { $ne: row._id } })
    if (!holder) return undefined
    if (isOlder(holder, row)) return holder._id
    await giveNameUp(holder)
    return undefined
  }

  async function giveNameUp (row: OldUser): Promise<void> {
    const { matchedCount } = await users.updateOne(asRead(row, ['username_key']), {
      $unset: { username_key: '' },
      // it tells that 0.3.0 made the row
      ...(row.schema !== 2 && { $set: { key_given_up: true } })
    })
    if (matchedCount === 1) note(`users ${String(row._id)}`, [GAVE_NAME_UP])
  }

  function noteRow ({ _id }: OldUser, { done, open }: Change): void {
    note(`users ${String(_id)}`, done, open)
  }
}

/** Which numbers of these rows belonged to an account of this service that was deleted. */
export async function findDeleted (
  released: UserCollections['released'],
  rows: OldUser[],
  region: string
): Promise<Set<string>> {
  const found = await released.find({ _id: { $in: phonesOf(rows, region) } }, { projection: { _id: 1 } }).toArray()
  return new Set(found.map(({ _id }) => _id))
}

const phonesOf = (rows: OldUser[], region: string) =>
  [...new Set(rows.flatMap(row => uniqueValuesOf(row, region).phone ?? []))]

/** The row that 0.3.0 kept in place of a duplicate, or the account that has taken it in. */
export async function keeperOfDuplicate (users: Collection<OldUser>, id: ObjectId): Promise<OldUser | null> {
  return await users.findOne({ _id: id }) ?? await users.findOne({ 'merged.id': id })
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
