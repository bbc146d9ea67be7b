import { createHash } from 'node:crypto'
import { ObjectId } from 'mongodb'
import {
  batches,
  BY_BATCH,
  FIELDS,
  findDeleted,
  keeperOfDuplicate,
  type UserCollections
} from './convert.js'
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

/** The rows with one number: the oldest, and the one that has it in its normal form. */
interface SameNumber { oldest: OldUser, holder?: OldUser }

/** What the rules read of a row. Sessions count only by being there. */
const PROJECTION = {
  ...Object.fromEntries(FIELDS.map(field => [field, 1])), 'sessions.id': 1, 'former_numbers.number': 1, created_on: 1
}

/**
 * Notes what convertUserRows would do, and writes nothing. Reads three times, to remember only repeated values, and one
 * or two rows for each repeated number.
 */
export async function previewUsers (
  collections: UserCollections,
  rules: Rules,
  note: Note,
  progress: (rows: number) => void = () => {}
): Promise<void> {
  const { users, released } = collections
  const { region } = rules
  const repeats = new Repeats()
  /** By their former numbers. The index that would find them may not be there yet. */
  const moved = new Map<string, ObjectId>()
  for await (const row of users.find({}, { projection: PROJECTION, ...BY_BATCH })) {
    const { phone, key } = uniqueValuesOf(row, region)
    if (phone !== undefined) repeats.add(numberOf(phone))
    if (key !== undefined) repeats.add(nameOf(key))
    for (const { number } of row.former_numbers ?? []) moved.set(number, row._id)
  }

  const sameNumbers = new Map<string, SameNumber>()
  for await (const row of inOrder()) {
    const { phone } = uniqueValuesOf(row, region)
    if (phone === undefined || !repeats.has(numberOf(phone))) continue
    const same = sameNumbers.get(phone) ?? { oldest: row }
    if (row.number === phone) same.holder ??= row
    sameNumbers.set(phone, same)
  }

  /** Accounts that others share a number with, as they are after the rows before. */
  const accounts = new Map<string, OldUser>()
  const mergedInto = new Map<string, ObjectId>()
  const nameHolders = new Map<string, ObjectId>()
  for await (const rows of batches(inOrder())) {
    const deleted = await findDeleted(released, rows, region)
    for (const row of rows) await previewRow(accounts.get(String(row._id)) ?? row, deleted)
    progress(rows.filter(({ schema, duplicate_of: id }) => schema !== 2 || id !== undefined).length)
  }

  function inOrder () {
    return users.find({}, { projection: PROJECTION, ...BY_BATCH }).sort({ _id: 1 })
  }

  async function previewRow (row: OldUser, deleted: Set<string>): Promise<void> {
    const values = uniqueValuesOf(row, region)
    const { phone = '' } = values
    if (row.schema !== 2 && deleted.has(phone)) return note(`users ${String(row._id)}`, [REMOVED])
    const account = await accountFor(row, values)
    if (account) {
      if (previewMerge(account, row)) return
      values.full = account._id
      delete values.phone
    }
    const change = changeOf(row, values, takeName(row, values.key, row._id), rules)
    if (row.schema !== 2) note(`users ${String(row._id)}`, change.done, change.open)
    else if (change.done.includes(GAVE_NAME_UP)) note(`users ${String(row._id)}`, [GAVE_NAME_UP])
    if (sameNumbers.has(phone)) accounts.set(String(row._id), changed(row, change))
  }

  async function accountFor (
    { _id, duplicate_of: id, schema }: OldUser,
    { phone }: UniqueValues
  ): Promise<OldUser | undefined> {
    if (id instanceof ObjectId) {
      const known = mergedInto.get(String(id)) ?? id
      const account = accounts.get(String(known)) ?? await keeperOfDuplicate(users, known) ?? undefined
      return account && isOlder(account, { _id }) ? { ...account, schema: 2 } : account
    }
    if (phone === undefined || schema === 2) return undefined
    const mover = moved.get(phone)
    if (mover && !mover.equals(_id)) return accounts.get(String(mover)) ?? (await users.findOne({ _id: mover }))!
    const same = sameNumbers.get(phone)
    if (!same) return undefined
    const { oldest, holder } = same
    const account = holder && isAccount(holder, rules) ? holder : oldest
    return account._id.equals(_id) ? undefined : accounts.get(String(account._id)) ?? account
  }

  /** Whether the account has room for the row. */
  function previewMerge (account: OldUser, row: OldUser): boolean {
    const change = mergeOf(account, row, takeName(row, nameToTake(account, row, region), account._id), rules)
    if (!change) return false
    accounts.set(String(account._id), changed(account, change))
    mergedInto.set(String(row._id), account._id)
    note(`users ${String(row._id)}`, change.done, change.open)
    return true
  }

  /** The older row that has the name. If there is none, `taker` has it from now on. */
  function takeName (row: OldUser, key: string | undefined, taker: ObjectId): ObjectId | undefined {
    if (key === undefined || !repeats.has(nameOf(key))) return undefined
    const holder = nameHolders.get(key)
    if (holder && !holder.equals(row._id) && isOlder({ _id: holder }, row)) return holder
    if (holder && !holder.equals(row._id)) note(`users ${String(holder)}`, [GAVE_NAME_UP])
    nameHolders.set(key, taker)
    return undefined
  }
}

function changed (row: OldUser, { set, unset }: Change): OldUser {
  const kept = Object.entries(row).filter(([name]) => !(name in unset))
  return { ...Object.fromEntries(kept), ...set } as OldUser
}

const numberOf = (phone: string) => `number ${phone}`
const nameOf = (key: string) => `name ${key}`

/** The values that were added more than once, in 16 MiB plus their own size. A few others may count as such. */
class Repeats {
  static readonly BITS = 2 ** 27
  readonly #seen = new Uint8Array(Repeats.BITS / 8)
  readonly #repeated = new Set<number>()

  add (value: string): void {
    const place = this.#place(value)
    const bit = 1 << (place & 7)
    if (this.#seen[place >> 3]! & bit) this.#repeated.add(place)
    this.#seen[place >> 3]! |= bit
  }

  has (value: string): boolean {
    return this.#repeated.has(this.#place(value))
  }

  #place (value: string): number {
    return createHash('sha1').update(value).digest().readUInt32LE() % Repeats.BITS
  }
}
