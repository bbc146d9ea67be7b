import { CommandError } from '../errors.js'
import { valueAt } from '../paths.js'
import { setAt } from '../update/paths.js'
import { cloneDoc, isDoc, isNullish, type Doc, type Value } from '../values.js'
import type { Stage } from './types.js'

/** `$unwind`: one document for each member of an array; null, missing and empty are dropped unless preserved. */
export function unwind (operand: Value): Stage {
  const path = isDoc(operand) ? operand.get('path') : operand
  if (typeof path !== 'string' || !path.startsWith('$') || path.length < 2) {
    throw new CommandError(28818, `path option to $unwind stage should be prefixed with a '$': ${String(path)}`)
  }
  const preserve = isDoc(operand) && operand.get('preserveNullAndEmptyArrays') === true
  const index = isDoc(operand) ? operand.get('includeArrayIndex') : undefined
  if (index !== undefined && typeof index !== 'string') {
    throw new CommandError(28810, 'expected a non-empty string for the includeArrayIndex option to $unwind stage')
  }
  return function * (input) {
    for (const doc of input) yield * unwound(doc, path.slice(1), preserve, index)
  }
}

function * unwound (doc: Doc, path: string, preserve: boolean, index: string | undefined): Iterable<Doc> {
  const value = valueAt(doc, path)
  if (Array.isArray(value) && value.length > 0) {
    for (const [at, member] of value.entries()) yield withMember(doc, path, member, index, BigInt(at))
  } else if (!Array.isArray(value) && !isNullish(value)) yield withMember(doc, path, value, index, null)
  else if (preserve) yield withMember(doc, path, Array.isArray(value) ? undefined : value, index, null)
}

function withMember (
  doc: Doc,
  path: string,
  member: Value | undefined,
  index: string | undefined,
  at: bigint | null
): Doc {
  const result = cloneDoc(doc)
  if (member === undefined) removePath(result, path.split('.'))
  else setAt(result, path.split('.'), member)
  if (index !== undefined) setAt(result, index.split('.'), at)
  return result
}

function removePath (doc: Doc, parts: string[]): void {
  const [part = '', ...rest] = parts
  const value = doc.get(part)
  if (rest.length === 0) doc.delete(part)
  else if (isDoc(value)) removePath(value, rest)
}
