import { Binary, BSONRegExp, ObjectId, Timestamp } from 'bson'
import { compareNumbers } from './numbers.js'
import { isDoc, isNumeric, orderOf, type Doc, type Value } from './values.js'

/** Orders any two values as MongoDB sorts them. Numbers of different types that are equal compare as equal. */
export function compareValues (a: Value, b: Value): number {
  if (typeof a === 'string' && typeof b === 'string') return compareStrings(a, b)
  const order = orderOf(a) - orderOf(b)
  if (order !== 0) return order
  if (isNumeric(a) && isNumeric(b)) return compareNumbers(a, b)
  if (isDoc(a) && isDoc(b)) return compareDocs(a, b)
  if (Array.isArray(a) && Array.isArray(b)) return compareArrays(a, b)
  if (a instanceof ObjectId && b instanceof ObjectId) return Buffer.compare(a.id, b.id)
  if (a instanceof Date && b instanceof Date) return a.getTime() - b.getTime()
  if (typeof a === 'boolean' && typeof b === 'boolean') return Number(a) - Number(b)
  if (a instanceof Timestamp && b instanceof Timestamp) return a.compare(b)
  if (a instanceof Binary && b instanceof Binary) {
    return a.position - b.position || a.sub_type - b.sub_type || Buffer.compare(a.value(), b.value())
  }
  if (a instanceof BSONRegExp && b instanceof BSONRegExp) {
    return compareStrings(a.pattern, b.pattern) || compareStrings(a.options, b.options)
  }
  return 0
}

/** Strings compare by their UTF-8 bytes, which differs from UTF-16 only where surrogates meet U+E000–U+FFFF. */
export function compareStrings (a: string, b: string): number {
  if (a === b) return 0
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at++) {
    const x = a.charCodeAt(at)
    const y = b.charCodeAt(at)
    if (x !== y) {
      return isSurrogate(x) === isSurrogate(y)
        ? x - y
        : isSurrogate(x) ? (y >= 0xe000 ? 1 : x - y) : (x >= 0xe000 ? -1 : x - y)
    }
  }
  return a.length - b.length
}

const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff

function compareDocs (a: Doc, b: Doc): number {
  const right = b.entries()
  for (const [name, value] of a) {
    const next = right.next()
    if (next.done === true) return 1
    const [otherName, otherValue] = next.value
    const order =
      orderOf(value) - orderOf(otherValue) || compareStrings(name, otherName) || compareValues(value, otherValue)
    if (order !== 0) return order
  }
  return right.next().done === true ? 0 : -1
}

function compareArrays (a: Value[], b: Value[]): number {
  for (const [at, value] of a.entries()) {
    const other = b[at]
    if (other === undefined) return 1
    const order = compareValues(value, other)
    if (order !== 0) return order
  }
  return a.length - b.length
}

export const equalValues = (a: Value, b: Value): boolean => compareValues(a, b) === 0
