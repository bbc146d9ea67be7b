import { CommandError } from '../errors.js'
import { toSafeInteger } from '../numbers.js'
import { isDoc, isNumeric, toNumber, typeName, type Doc, type Value } from '../values.js'
import type { Request } from './types.js'

const wrongType = (request: Request, field: string, value: Value | undefined, expected: string): CommandError =>
  new CommandError(
    14,
    `BSON field '${request.name}.${field}' is the wrong type '${typeName(value)}', expected type '${expected}'`
  )

/** The collection a command names with its first field. Throws CommandError 73 when it is no name. */
export function collectionName (request: Request): string {
  const name = request.body.get(request.name)
  if (typeof name !== 'string') throw new CommandError(73, `collection name has invalid type ${typeName(name)}`)
  return name
}

export function docField (request: Request, field: string): Doc | undefined {
  const value = request.body.get(field)
  if (value === undefined || value === null || isDoc(value)) return value ?? undefined
  throw wrongType(request, field, value, 'object')
}

export function requiredArray (request: Request, field: string): Value[] {
  const value = request.body.get(field)
  if (Array.isArray(value)) return value
  throw value === undefined ? missingField(request, field) : wrongType(request, field, value, 'array')
}

export const missingField = (request: Request, field: string): CommandError =>
  new CommandError(40414, `BSON field '${request.name}.${field}' is missing but a required field`)

export function flagField (request: Request, field: string, fallback = false): boolean {
  const value = request.body.get(field)
  if (value === undefined || value === null) return fallback
  if (typeof value === 'boolean') return value
  if (isNumeric(value)) return toNumber(value) !== 0
  throw wrongType(request, field, value, 'bool')
}

/** A whole number that is not negative. */
export function countField (request: Request, field: string): number | undefined {
  const value = request.body.get(field)
  if (value === undefined || value === null) return undefined
  const number = isNumeric(value) ? toSafeInteger(value) : undefined
  if (number === undefined) throw wrongType(request, field, value, 'long')
  if (number < 0) throw new CommandError(51024, `BSON field '${field}' value must be >= 0, actual value '${number}'`)
  return number
}

/** Refuses fields a command, or a statement in it, does not have. */
export function checkFields (doc: Doc, where: string, known: ReadonlySet<string>): void {
  for (const field of doc.keys()) {
    if (!known.has(field)) throw new CommandError(40415, `BSON field '${where}.${field}' is an unknown field.`)
  }
}
