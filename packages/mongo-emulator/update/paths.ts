import { describe } from '../describe.js'
import { badValue, CommandError } from '../errors.js'
import type { MatchDetails } from '../match.js'
import { isIndexName } from '../paths.js'
import { isDoc, type Doc, type Value } from '../values.js'

/** How far a single update may lengthen an array, as in MongoDB. */
const MAX_PADDING = 1_500_000

/** Replaces the positional operator `$` by the place where the filter matched. Throws BadValue when there is none. */
export function concretePath (parts: string[], { arrayIndex }: MatchDetails): string[] {
  return parts.map(part => {
    if (part !== '$') return part
    if (arrayIndex !== undefined) return String(arrayIndex)
    throw badValue('The positional operator did not find the match needed from the query.')
  })
}

/** The value at a concrete path, where numbers are positions in arrays. */
export function valueAtParts (doc: Doc, parts: string[]): Value | undefined {
  let value: Value | undefined = doc
  for (const part of parts) {
    if (isDoc(value)) value = value.get(part)
    else value = Array.isArray(value) && isIndexName(part) ? value[Number(part)] : undefined
  }
  return value
}

/** Sets a value, making the documents on the way. Throws CommandError 28 where something else is in the way. */
export function setAt (doc: Doc, parts: string[], value: Value): void {
  let holder: Value = doc
  for (const [at, part] of parts.entries()) {
    const last = at === parts.length - 1
    const next: Value | undefined = last ? value : child(holder, part)
    holder = put(holder, part, last ? value : next ?? new Map(), parts[at - 1] ?? '')
  }
}

const child = (holder: Value, part: string): Value | undefined =>
  isDoc(holder) ? holder.get(part) : Array.isArray(holder) && isIndexName(part) ? holder[Number(part)] : undefined

function put (holder: Value, part: string, value: Value, holderName: string): Value {
  if (isDoc(holder)) holder.set(part, value)
  else if (Array.isArray(holder) && isIndexName(part)) putMember(holder, Number(part), value)
  else throw new CommandError(28, `Cannot create field '${part}' in element {${holderName}: ${describe(holder)}}`)
  return value
}

function putMember (holder: Value[], index: number, value: Value): void {
  if (index - holder.length > MAX_PADDING) {
    throw new CommandError(28, `can't backfill more than ${MAX_PADDING} elements`)
  }
  while (holder.length < index) holder.push(null)
  holder[index] = value
}

/** Removes a field; a member of an array becomes null, so that the others keep their positions. */
export function removeAt (doc: Doc, parts: string[]): void {
  const holder = valueAtParts(doc, parts.slice(0, -1))
  const last = parts.at(-1) ?? ''
  if (isDoc(holder)) holder.delete(last)
  else if (Array.isArray(holder) && isIndexName(last) && Number(last) < holder.length) holder[Number(last)] = null
}
