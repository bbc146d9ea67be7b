import { CommandError } from '../errors.js'
import { fromInteger, isNullish, isNumeric, toNumber, typeName, type Value } from '../values.js'
import { asText } from './conversions.js'
import { arity, variadic } from './operands.js'

function string (value: Value | undefined, name: string): string {
  if (typeof value === 'string') return value
  throw new CommandError(34471, `${name} requires a string argument, found: ${typeName(value)}`)
}

/** Case and substring operators turn numbers and dates into text first, null into the empty string. */
const coerced = (value: Value | undefined): string => isNullish(value) ? '' : asText(value)

const substring = arity(3, 3, (value, from, count) => {
  const bytes = Buffer.from(coerced(value))
  const start = isNumeric(from) ? toNumber(from) : 0
  const length = isNumeric(count) ? toNumber(count) : 0
  return start < 0 ? '' : bytes.subarray(start, length < 0 ? undefined : start + length).toString()
})

const indexOf = (name: string, split: (text: string) => string[]) => arity(2, 4, (value, search, from, to) => {
  if (isNullish(value)) return null
  const [units, wanted] = [split(string(value, name)), split(string(search, name))]
  const end = isNumeric(to) ? Math.min(toNumber(to), units.length) : units.length
  for (let at = isNumeric(from) ? toNumber(from) : 0; at + wanted.length <= end; at++) {
    if (wanted.every((unit, offset) => units[at + offset] === unit)) return fromInteger(at)
  }
  return fromInteger(-1)
})

export const strings = {
  $indexOfCP: indexOf('$indexOfCP', text => [...text]),
  $indexOfBytes: indexOf('$indexOfBytes', text => [...Buffer.from(text).toString('latin1')]),
  $concat: variadic(values => values.some(isNullish)
    ? null
    : values.map(value => {
      if (typeof value !== 'string') {
        throw new CommandError(16702, `$concat only supports strings, not ${typeName(value)}`)
      }
      return value
    }).join('')),
  $toLower: arity(1, 1, value => coerced(value).replace(/[A-Z]/g, letter => letter.toLowerCase())),
  $toUpper: arity(1, 1, value => coerced(value).replace(/[a-z]/g, letter => letter.toUpperCase())),
  $strLenBytes: arity(1, 1, value => fromInteger(Buffer.byteLength(string(value, '$strLenBytes')))),
  $strLenCP: arity(1, 1, value => fromInteger([...string(value, '$strLenCP')].length)),
  $substr: substring,
  $substrBytes: substring,
  $substrCP: arity(3, 3, (value, from, count) => {
    const start = isNumeric(from) ? toNumber(from) : 0
    const length = isNumeric(count) ? toNumber(count) : 0
    return [...coerced(value)].slice(start, start + length).join('')
  })
}
