import { compareValues } from '../compare.js'
import { badValue, typeMismatch } from '../errors.js'
import { toSafeInteger } from '../numbers.js'
import { parseSort, sortValues } from '../sort.js'
import { isDoc, isNumeric, toNumber, typeName, type Value } from '../values.js'

interface Push {
  each: Value[]
  position: number | undefined
  slice: number | undefined
  sort: ((a: Value, b: Value) => number) | undefined
}

const clauses = new Set(['$each', '$position', '$slice', '$sort'])

/** Parses the operand of `$push`: a value, or `{ $each, $position, $slice, $sort }`. */
export function parsePush (operand: Value): Push {
  if (!isDoc(operand) || !operand.has('$each')) {
    return { each: [operand], position: undefined, slice: undefined, sort: undefined }
  }
  for (const clause of operand.keys()) {
    if (!clauses.has(clause)) throw badValue(`Unrecognized clause in $push: ${clause}`)
  }
  const each = operand.get('$each')
  if (!Array.isArray(each)) {
    throw badValue(`The argument to $each in $push must be an array but it was of type: ${typeName(each)}`)
  }
  return {
    each,
    position: whole(operand.get('$position'), '$position'),
    slice: whole(operand.get('$slice'), '$slice'),
    sort: comparison(operand.get('$sort'))
  }
}

function whole (value: Value | undefined, clause: string): number | undefined {
  const number = isNumeric(value) ? toSafeInteger(value) : undefined
  if (value !== undefined && number === undefined) {
    throw badValue(`The value for ${clause} must be an integer value but was given type: ${typeName(value)}`)
  }
  return number
}

function comparison (value: Value | undefined): Push['sort'] {
  if (value === undefined) return undefined
  if (isDoc(value)) return sortValues(parseSort(value))
  const sign = isNumeric(value) ? toNumber(value) : NaN
  if (sign !== 1 && sign !== -1) throw typeMismatch('The $sort element value must be either 1 or -1')
  return (a, b) => compareValues(a, b) * sign
}

/** Inserts, sorts, then slices, in this order. */
export function push (current: Value[], { each, position = current.length, slice, sort }: Push): Value[] {
  const result = [...current]
  result.splice(position, 0, ...each)
  if (sort !== undefined) result.sort(sort)
  if (slice === undefined) return result
  return slice >= 0 ? result.slice(0, slice) : result.slice(slice)
}
