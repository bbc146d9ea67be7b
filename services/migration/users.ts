import { BSON, ObjectId } from 'mongodb'
import { maskPhone, normalizePhone } from '../phone.js'
import { usernameKey } from '../users/username.js'

/** A row of `users` as it may be found: any field may be missing, or hold anything. */
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
  /** Of a row of 0.3.0. */
  number_since?: unknown
  moved?: unknown
}

/** What of a row no other row may have. */
export interface Claims { phone?: string, key?: string }

/** The older rows that have it already. */
export interface Holders { phone?: ObjectId, key?: ObjectId }

export interface Change {
  set: Partial<Record<keyof OldUser, unknown>>
  unset: Partial<Record<keyof OldUser, ''>>
  /** What is done to the row, for the report. */
  done: string[]
  /** What somebody may want to look at. */
  open: string[]
}

/** Writes one line of the report. */
export type Note = (subject: string, done: string[], open?: string[]) => void

/** Whoever keeps the number of a row that was blocked is blocked from then on. */
export const duplicateOf = (
  keeper: ObjectId,
  phone: string,
  { blocked }: OldUser
) => `duplicate of ${String(keeper)} (${maskPhone(phone)})${blocked === true ? ', which it blocks' : ''}`
export const GAVE_NAME_UP = 'unique name given up'

const isParked = (row: OldUser) => row.duplicate_of === null && row.number === undefined
const writtenNumber = (row: OldUser) => isParked(row) ? row.old_number : row.number

/**
 * The number and the name that a row is entitled to unless an older one has it. A row that the service cannot address,
 * because its id is none of the database's own, claims nothing.
 */
export function claimsOf (row: OldUser, region: string): Claims {
  if (!(row._id instanceof ObjectId)) return {}
  const number = writtenNumber(row)
  return {
    phone: typeof number === 'string' ? normalizePhone(number, region) : undefined,
    key: usernameKey(textOf(row.username)) || undefined
  }
}

/**
 * What makes a row of the replaced system one of this service, given who holds what it claims; nothing for a row that
 * is one.
 */
export function changeOf (row: OldUser, claims: Claims, held: Holders): Change {
  const change: Change = { set: {}, unset: {}, done: [], open: [] }
  if (!(row._id instanceof ObjectId)) change.open.push('its id is no ObjectId')
  changeNumber(change, row, claims.phone, held.phone)
  changeName(change, row, claims.key, held.key)
  if (typeof row.admin !== 'boolean') {
    change.set.admin = false
    change.done.push('admin false')
  }
  if (row.schema !== 2) change.set.schema = 2
  for (const name of ['number_since', 'moved'] as const) if (row[name] !== undefined) change.unset[name] = ''
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
 * The name stays as it is shown; only what is no text becomes one. An account without any has none, so that its owner
 * can name it.
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

/** Any stored value as text, so that nothing is lost. */
function textOf (value: unknown): string {
  if (typeof value === 'string') return value
  return value === undefined || value === null ? '' : BSON.EJSON.stringify(value)
}
