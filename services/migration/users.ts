import { BSON, ObjectId } from 'mongodb'
import { maskPhone, normalizePhone } from '../phone.js'
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
  /** Null while it is not yet known whether this row keeps the number in `old_number`. */
  duplicate_of?: ObjectId | null
  old_number?: unknown
  /** Set until the row is converted, where its `username_key` was taken from it. */
  key_given_up?: true
  /** In rows of 0.3.0. */
  number_since?: unknown
  moved?: unknown
}

/** The values of a row that must be unique. */
export interface UniqueValues { phone?: string, key?: string }

/** The older rows that hold these values. */
export interface Holders { phone?: ObjectId, key?: ObjectId }

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

/** The report of a duplicate. If its row was blocked, the keeper of the number becomes blocked. */
export const duplicateOf = (
  keeper: ObjectId,
  phone: string,
  { blocked }: OldUser
) => `duplicate of ${String(keeper)} (${maskPhone(phone)})${blocked === true ? ', which it blocks' : ''}`
export const GAVE_NAME_UP = 'unique name given up'

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

/** What the operator decides. */
export interface Rules {
  /** The country of national numbers. */
  region: string
  /** Whether rows of the replaced system keep `admin: true`, which their users could set for themselves. */
  keepAdmins: boolean
}

/**
 * The change that turns a row of the replaced system into one of this service, given the holders of its values. Empty
 * for a row that is one.
 */
export function changeOf (row: OldUser, values: UniqueValues, held: Holders, { keepAdmins }: Rules): Change {
  const change: Change = { set: {}, unset: {}, done: [], open: [] }
  if (!(row._id instanceof ObjectId)) change.open.push('its id is no ObjectId')
  changeNumber(change, row, values.phone, held.phone)
  changeName(change, row, values.key, held.key)
  changeAdmin(change, row, keepAdmins)
  if (row.schema !== 2) change.set.schema = 2
  for (const name of ['number_since', 'moved', 'key_given_up'] as const) if (row[name] !== undefined) change.unset[name] = ''
  return change
}

function changeNumber (
  { set, unset, done, open }: Change,
  row: OldUser,
  phone: string | undefined,
  keeper: ObjectId | undefined
): void {
  if (phone === undefined) {
    if (!(row.duplicate_of instanceof ObjectId)) open.push('no phone number')
    if (row.duplicate_of === null) unset.duplicate_of = ''
    if (row.number === undefined) return
    unset.number = ''
    if (row.number !== null) set.old_number = textOf(row.number)
    done.push('number set aside')
  } else if (keeper) {
    set.duplicate_of = keeper
    set.old_number = writtenNumber(row)
    unset.number = ''
    done.push(duplicateOf(keeper, phone, row))
  } else if (row.number !== phone) {
    set.number = phone
    if (isParked(row)) Object.assign(unset, { duplicate_of: '', old_number: '' })
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
  open.push(holder ? `has the name of ${String(holder)}` : 'no name')
  if (row.username_key === undefined) return
  unset.username_key = ''
  done.push(GAVE_NAME_UP)
}

function changeAdmin ({ set, done, open }: Change, row: OldUser, keepAdmins: boolean): void {
  if (row.admin === false || (row.admin === true && isOwn(row))) return
  if (row.admin === true && keepAdmins) {
    open.push('stays an admin')
    return
  }
  set.admin = false
  done.push(row.admin === true ? 'no longer an admin' : 'admin false')
}

/** Whether this service or an earlier version of it wrote the row: the replaced system knew none of these fields. */
const isOwn = ({ schema, username_key: key, key_given_up: givenUp }: OldUser) =>
  schema !== undefined || key !== undefined || givenUp === true

/** Any stored value as text, so that nothing is lost. */
function textOf (value: unknown): string {
  if (typeof value === 'string') return value
  return value === undefined || value === null ? '' : BSON.EJSON.stringify(value)
}
