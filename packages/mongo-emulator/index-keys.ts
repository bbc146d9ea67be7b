import { CommandError } from './errors.js'
import { isIndexName } from './paths.js'
import { isDoc, UNDEFINED, type Doc, type Value } from './values.js'

/** The values under which an index files a document, and which of its fields led through arrays. */
export interface IndexValues { keys: Value[][], multikey: boolean[], missing: boolean }

/** One field's way into the document; `done` keeps a nested array at its end from being expanded again. */
interface Cursor { at: Value | undefined, rest: string[], done: boolean }

/**
 * Takes the indexed values out of a document: missing fields count as null, each member of an array makes a key,
 * an empty array counts as undefined. `missing` is true when none of the fields is there (sparse indexes skip it).
 * Throws CommandError 171 when two fields run through different arrays.
 */
export function indexValues (doc: Doc, paths: string[]): IndexValues {
  const result: IndexValues = { keys: [], multikey: paths.map(() => false), missing: true }
  expand(paths.map(path => ({ at: doc, rest: path.split('.'), done: false })), paths, result)
  return result
}

function expand (cursors: Cursor[], paths: string[], result: IndexValues): void {
  const advanced = cursors.map(advance)
  const stopped = advanced.filter(({ at, done }) => !done && Array.isArray(at))
  const array = stopped[0]?.at
  if (!Array.isArray(array)) {
    if (advanced.some(({ at }) => at !== undefined)) result.missing = false
    result.keys.push(advanced.map(({ at }) => at ?? null))
    return
  }
  if (stopped.some(({ at }) => at !== array)) throw parallel(advanced, paths)
  advanced.forEach(({ at, done }, field) => { if (!done && at === array) result.multikey[field] = true })
  const members = array.length === 0 ? [undefined] : array
  for (const member of members) {
    expand(
      advanced.map(cursor => !cursor.done && cursor.at === array ? enter(cursor, member, array) : cursor),
      paths,
      result
    )
  }
}

/** Follows a path through documents until it ends, breaks, or reaches an array. */
function advance (cursor: Cursor): Cursor {
  let { at, rest } = cursor
  if (cursor.done) return cursor
  while (rest.length > 0 && !Array.isArray(at)) {
    at = isDoc(at) ? at.get(rest[0] ?? '') : undefined
    rest = rest.slice(1)
    if (Array.isArray(at) && isIndexName(rest[0] ?? '')) {
      at = at[Number(rest[0])]
      rest = rest.slice(1)
    }
  }
  return { at, rest, done: !Array.isArray(at) }
}

function enter ({ rest }: Cursor, member: Value | undefined, array: Value[]): Cursor {
  if (rest.length > 0) {
    return isDoc(member) ? { at: member, rest, done: false } : { at: undefined, rest: [], done: true }
  }
  return { at: array.length === 0 ? UNDEFINED : member, rest: [], done: true }
}

function parallel (cursors: Cursor[], paths: string[]): CommandError {
  const names = cursors.flatMap(({ at, done }, position) =>
    !done && Array.isArray(at) ? [(paths[position] ?? '').split('.').at(-1)] : [])
  return new CommandError(171, `cannot index parallel arrays [${names[1]}] [${names[0]}]`)
}
