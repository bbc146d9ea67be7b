import { BSON, ObjectId } from 'mongodb'
import type { MergedUser } from '../../schemas/documents.js'
import { MAX_MERGED } from '../account-row.js'
import { maskPhone, normalizePhone } from '../phone.js'
import { storedTime } from '../stored-time.js'
import { usernameKey } from '../users/username.js'

/** A row of `users` before the migration: any field may be missing, or hold anything. */
export interface OldUser {
  _id: ObjectId
  username?: unknown
  username_key?: unknown
  number?: unknown
  admin?: unknown
  blocked?: unknown
  /** 2 once the row is an account of this service. */
  schema?: number
  /**
   * Null where another row had exactly the same number: `old_number` has it until the row is converted. In rows of
   * 0.3.0 also the row that kept the number.
   */
  duplicate_of?: ObjectId | null
  old_number?: unknown
  /** Set until the row is converted, where its `username_key` was taken from it. */
  key_given_up?: true
  /** Rows with the same number that are part of this account now. */
  merged?: MergedUser[]
  /** The service adds them, also to a row that is not converted yet. */
  sessions?: unknown
  created_on?: unknown
  deleting?: unknown
  former_numbers?: Array<{ number: string }>
  /** In rows of 0.3.0. */
  number_since?: unknown
  moved?: unknown
}

/** The values of a row that must be unique. `full`: the account that has the number, but no room for another row. */
export interface UniqueValues { phone?: string, key?: string, full?: ObjectId }

export interface Change {
  set: Partial<Record<keyof OldUser, unknown>>
  unset: Partial<Record<keyof OldUser, ''>>
  /** Changes to the row, for the report. */
  done: string[]
  /** Points for an operator to check. */
  open: string[]
}

/** Writes one line of the report. */
export type Note = (subject: string, done: string[], open?: string[]) => void

export const GAVE_NAME_UP = 'unique name given up'
export const REMOVED = 'removed: its user has deleted the account since'
const NO_LONGER_ADMIN = 'no longer an admin'
const STAYS_ADMIN = 'stays an admin'

const isParked = (row: OldUser) => row.duplicate_of === null && row.number === undefined
const writtenNumber = (row: OldUser) => isParked(row) ? row.old_number : row.number

/**
 * The number and the name that a row gets unless an older row has them. A row whose id is no ObjectId claims nothing,
 * because the service cannot address it.
 */
export function uniqueValuesOf (row: OldUser, region: string): UniqueValues {
  if (!(row._id instanceof ObjectId)) return {}
  const number = writtenNumber(row)
  return {
    phone: typeof number === 'string' ? normalizePhone(number, region) : undefined,
    key: usernameKey(textOf(row.username)) || undefined
  }
}

/** What decides beside the rows. */
export interface Rules {
  /** The country of national numbers. */
  region: string
  /** Whether rows of the replaced system keep `admin: true`, which their users could set for themselves. */
  keepAdmins: boolean
  /** Whether 0.3.0 made the database. */
  of030: boolean
}

/**
 * The change that turns a row of the replaced system into an account, given the older row that has its name. Empty for
 * a row that is one.
 */
export function changeOf (row: OldUser, values: UniqueValues, nameHolder: ObjectId | undefined, rules: Rules): Change {
  const change: Change = { set: {}, unset: {}, done: [], open: [] }
  if (!(row._id instanceof ObjectId)) change.open.push('its id is no ObjectId')
  changeNumber(change, row, values)
  changeName(change, row, values.key, nameHolder)
  changeAdmin(change, row, rules)
  if (row.schema !== 2) change.set.schema = 2
  for (const name of ['number_since', 'moved', 'key_given_up'] as const) if (row[name] !== undefined) change.unset[name] = ''
  return change
}

function changeNumber ({ set, unset, done, open }: Change, row: OldUser, { phone, full }: UniqueValues): void {
  if (row.duplicate_of !== undefined) unset.duplicate_of = ''
  if (phone === undefined) {
    open.push(full ? `${String(full)} has its number, and ${MAX_MERGED} merged rows` : 'no phone number')
    if (row.number === undefined) return
    unset.number = ''
    if (row.number !== null) set.old_number = textOf(row.number)
    done.push('number set aside')
  } else if (row.number !== phone) {
    set.number = phone
    if (isParked(row)) unset.old_number = ''
    done.push(`number ${maskPhone(phone)}`)
  }
}

/**
 * Keeps the name as it is shown, and only turns other types into text. Removes an empty name, so that the owner of the
 * account can set one.
 */
function changeName (
  { set, unset, done, open }: Change,
  row: OldUser,
  key: string | undefined,
  holder: ObjectId | undefined
): void {
  const name = textOf(row.username)
  if (name === '' && row.username !== undefined) {
    unset.username = ''
    done.push('empty name removed')
  } else if (name !== '' && row.username !== name) {
    set.username = name
    done.push('name made a text')
  }
  if (key !== undefined && !holder) {
    if (row.username_key === key) return
    set.username_key = key
    done.push('unique name')
    return
  }
  open.push(holder ? hasNameOf(holder) : 'no name')
  if (row.username_key === undefined) return
  unset.username_key = ''
  done.push(GAVE_NAME_UP)
}

const hasNameOf = (holder: ObjectId) => `has the name of ${String(holder)}`

function changeAdmin ({ set, done, open }: Change, row: OldUser, rules: Rules): void {
  if (row.admin === false || (row.admin === true && isOwn(row, rules))) return
  if (row.admin === true && rules.keepAdmins) {
    open.push(STAYS_ADMIN)
    return
  }
  set.admin = false
  done.push(row.admin === true ? NO_LONGER_ADMIN : 'admin false')
}

/** Whether this service or 0.3.0 wrote the row. The service beside the migration may give any row a `username_key`. */
const isOwn = ({ schema, username_key: key, key_given_up: givenUp }: OldUser, { of030 }: Rules) =>
  schema !== undefined || (of030 && (key !== undefined || givenUp === true))

/** Whether a row keeps its number against older rows: the service or 0.3.0 made it, or users are signed in to it. */
export const isAccount = (row: OldUser, rules: Rules) => isOwn(row, rules) || row.sessions !== undefined

/**
 * The change to an account that takes another row with its number in; the report is about that row. The account keeps
 * its own name. If it has none, it gets the name of the row, which is unique unless `nameHolder` has it. Undefined when
 * the account has no room.
 */
export function mergeOf (
  account: OldUser,
  row: OldUser,
  nameHolder: ObjectId | undefined,
  rules: Rules
): Change | undefined {
  const { merged: present = [] } = account
  const ids = new Set([account._id, ...present.map(({ id }) => id)].map(String))
  const merged = [toMerged(row), ...(row.merged ?? [])].filter(({ id }) => !ids.has(id.toHexString()))
  if (present.length + merged.length > MAX_MERGED) return undefined
  const { admin } = row
  // 0.3.0 gave the block of a duplicate to its keeper, who may be unblocked since, and its right to nobody
  const wasDuplicate = row.duplicate_of instanceof ObjectId
  const blocked = row.blocked === true && !wasDuplicate
  const number = textOf(row.number ?? row.old_number)
  const change: Change = {
    set: {
      ...(merged.length > 0 && { merged: [...present, ...merged] }),
      ...(blocked && account.blocked !== true && { blocked }),
      ...(blocked && account.sessions !== undefined && { sessions: [] })
    },
    unset: {},
    done: [
      `merged into ${String(account._id)} (${maskPhone(normalizePhone(number, rules.region) ?? number)})` +
        (blocked ? ', which it blocks' : '')
    ],
    open: []
  }
  if (row.username_key !== undefined) change.done.push(GAVE_NAME_UP)
  if (textOf(account.username) === '' && textOf(row.username) !== '') {
    nameByMerge(change, account, row, nameHolder, rules.region)
  }
  if (admin === true) {
    const stays = !wasDuplicate && (rules.keepAdmins || isOwn(row, rules))
    if (stays && account.admin !== true) change.set.admin = true
    change[stays ? 'open' : 'done'].push(stays ? STAYS_ADMIN : NO_LONGER_ADMIN)
  }
  return change
}

function nameByMerge (
  { set, done, open }: Change,
  account: OldUser,
  row: OldUser,
  nameHolder: ObjectId | undefined,
  region: string
): void {
  set.username = textOf(row.username)
  done.push('names it')
  const key = nameToTake(account, row, region)
  if (key === undefined) return
  if (nameHolder) open.push(hasNameOf(nameHolder))
  else set.username_key = key
}

/** The unique name that an account without one takes from a row. A row gets its unique name when it is converted. */
export function nameToTake (account: OldUser, row: OldUser, region: string): string | undefined {
  return account.schema === 2 && textOf(account.username) === '' ? uniqueValuesOf(row, region).key : undefined
}

function toMerged ({ _id, username, number, old_number: oldNumber, created_on: createdOn }: OldUser): MergedUser {
  return {
    id: _id,
    username: textOf(username),
    number: textOf(number ?? oldNumber),
    created_on: storedTime(createdOn, _id)
  }
}

export const isOlder = ({ _id: a }: Pick<OldUser, '_id'>, { _id: b }: Pick<OldUser, '_id'>) =>
  a instanceof ObjectId && a.toHexString() < String(b)

/** Any stored value as text, so that nothing is lost. */
function textOf (value: unknown): string {
  if (typeof value === 'string') return value
  return value === undefined || value === null ? '' : BSON.EJSON.stringify(value)
}
