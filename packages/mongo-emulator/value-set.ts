import { equalValues } from './compare.js'
import { encodeComponent } from './key-encoding.js'
import type { Value } from './values.js'

/** Values in the order they came, each once; numbers of different types that are equal are one. */
export class ValueSet {
  readonly list: Value[] = []
  readonly #buckets = new Map<string, Value[]>()

  add (value: Value): boolean {
    const hash = encodeComponent(value).bytes.toString('latin1')
    const bucket = this.#buckets.get(hash) ?? []
    if (bucket.some(member => equalValues(member, value))) return false
    this.#buckets.set(hash, [...bucket, value])
    this.list.push(value)
    return true
  }
}
