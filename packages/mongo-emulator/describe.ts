import { Binary, BSONRegExp, Decimal128, Int32, MaxKey, MinKey, ObjectId, Timestamp } from 'bson'
import { isDoc, type Doc, type Value } from './values.js'

/** Writes a value as MongoDB's error messages do. */
export function describe (value: Value | undefined): string {
  if (value === undefined || value === null) return 'null'
  if (typeof value === 'string') return `"${value}"`
  if (typeof value === 'number') return Number.isInteger(value) && Math.abs(value) < 1e15 ? `${value}.0` : String(value)
  if (typeof value === 'bigint' || typeof value === 'boolean' || value instanceof Int32) return String(value)
  if (isDoc(value)) return describeDoc(value)
  if (Array.isArray(value)) return value.length === 0 ? '[]' : `[ ${value.map(describe).join(', ')} ]`
  return describeObject(value)
}

function describeObject (value: Value): string {
  if (value instanceof ObjectId) return `ObjectId('${value.toHexString()}')`
  if (value instanceof Date) return `new Date(${value.getTime()})`
  if (value instanceof Decimal128) return `NumberDecimal('${value.toString()}')`
  if (value instanceof Timestamp) return `Timestamp(${value.t}, ${value.i})`
  if (value instanceof BSONRegExp) return `/${value.pattern}/${value.options}`
  if (value instanceof Binary) return `BinData(${value.sub_type}, ${value.toString('hex').toUpperCase()})`
  if (value instanceof MinKey) return 'MinKey'
  if (value instanceof MaxKey) return 'MaxKey'
  return 'undefined'
}

const describeDoc = (doc: Doc): string =>
  doc.size === 0 ? '{}' : `{ ${[...doc].map(([name, value]) => `${name}: ${describe(value)}`).join(', ')} }`
