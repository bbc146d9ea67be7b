import { Binary, ObjectId } from 'bson'
import { isDoc, type Value } from './values.js'

/** Writes a value as MongoDB's error messages do. */
export function describe (value: Value | undefined): string {
  if (typeof value === 'string') return `"${value}"`
  if (typeof value === 'number') return Number.isInteger(value) && Math.abs(value) < 1e15 ? `${value}.0` : String(value)
  if (Array.isArray(value)) return value.length === 0 ? '[]' : `[ ${value.map(describe).join(', ')} ]`
  if (isDoc(value)) {
    return value.size === 0 ? '{}' : `{ ${[...value].map(([name, inner]) => `${name}: ${describe(inner)}`).join(', ')} }`
  }
  if (value instanceof ObjectId) return `ObjectId('${value.toHexString()}')`
  if (value instanceof Date) return `new Date(${value.getTime()})`
  if (value instanceof Binary) return `BinData(${value.sub_type}, ${value.toString('hex').toUpperCase()})`
  return value === undefined ? 'null' : String(value)
}
