import { describe } from '../describe.js'
import { badValue, CommandError } from '../errors.js'
import { matches, type Filter, type MatchDetails } from '../match.js'
import { isIndexName } from '../paths.js'
import { isDoc, type Doc, type Value } from '../values.js'

/** How far a single update may lengthen an array, as in MongoDB. */
const MAX_PADDING = 1_500_000

/** Input of the positional operators: where the filter matched, and the array filters by identifier. */
export interface Positions { details: MatchDetails, arrayFilters: Map<string, Filter> }

const isPositional = (part: string): boolean => part === '$' || (part.startsWith('$[') && part.endsWith(']'))

/** Replaces `$`, `$[]` and `$[identifier]` by the positions they stand for in this document. */
export function concretePaths (doc: Doc, parts: string[], positions: Positions): string[][] {
  const at = parts.findIndex(isPositional)
  if (at < 0) return [parts]
  const before = parts.slice(0, at)
  return indexes(valueAtParts(doc, before), before.join('.'), parts[at] ?? '', positions)
    .flatMap(index => concretePaths(doc, [...before, String(index), ...parts.slice(at + 1)], positions))
}

function indexes (
  target: Value | undefined,
  path: string,
  part: string,
  { details, arrayFilters }: Positions
): number[] {
  if (part === '$') {
    if (details.arrayIndex === undefined) {
      throw badValue('The positional operator did not find the match needed from the query.')
    }
    return [details.arrayIndex]
  }
  if (target === undefined) {
    throw badValue(`The path '${path}' must exist in the document in order to apply array updates.`)
  }
  if (!Array.isArray(target)) {
    throw badValue(`Cannot apply array updates to non-array element ${path.split('.').at(-1)}: ${describe(target)}`)
  }
  if (part === '$[]') return [...target.keys()]
  const identifier = part.slice(2, -1)
  const filter = arrayFilters.get(identifier)
  if (filter === undefined) {
    throw badValue(`No array filter found for identifier '${identifier}' in path '${path}.${part}'`)
  }
  return [...target.entries()].filter(([, member]) => matches(filter, new Map([[identifier, member]]))).map(
    ([index]) => index
  )
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
