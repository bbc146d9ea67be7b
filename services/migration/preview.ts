import { createHash } from 'node:crypto'
import type { Collection, ObjectId } from 'mongodb'
import { BY_BATCH } from './convert.js'
import { changeOf, uniqueValuesOf, type UniqueValues, type Note, type OldUser, type Rules } from './users.js'

/**
 * Notes what convertUserRows would do, and writes nothing. Goes oldest first, so the first row that claims a number or
 * a name keeps it. Reads twice, to remember only repeated values.
 */
export async function previewUsers (users: Collection<OldUser>, rules: Rules, note: Note): Promise<void> {
  const { region } = rules
  const repeats = new Repeats()
  for await (const row of users.find({}, BY_BATCH)) {
    for (const claim of namesOf(uniqueValuesOf(row, region))) repeats.add(claim)
  }

  const keepers = new Map<string, ObjectId>()
  for await (const row of users.find({}, BY_BATCH).sort({ _id: 1 })) {
    const values = uniqueValuesOf(row, region)
    const change = changeOf(row, values, {
      phone: keepers.get(`number ${values.phone}`),
      key: keepers.get(`name ${values.key}`)
    }, rules)
    for (const claim of namesOf(values)) if (repeats.has(claim) && !keepers.has(claim)) keepers.set(claim, row._id)
    if (row.schema !== 2) note(`users ${String(row._id)}`, change.done, change.open)
  }
}

const namesOf = ({ phone, key }: UniqueValues) => [
  ...(phone === undefined ? [] : [`number ${phone}`]),
  ...(key === undefined ? [] : [`name ${key}`])
]

/** The values that were added more than once, in 16 MiB plus their own size. A few others may count as such. */
class Repeats {
  static readonly BITS = 2 ** 27
  readonly #seen = new Uint8Array(Repeats.BITS / 8)
  readonly #repeated = new Set<number>()

  add (value: string): void {
    const place = this.#place(value)
    const bit = 1 << (place & 7)
    if (this.#seen[place >> 3]! & bit) this.#repeated.add(place)
    this.#seen[place >> 3]! |= bit
  }

  has (value: string): boolean {
    return this.#repeated.has(this.#place(value))
  }

  #place (value: string): number {
    return createHash('sha1').update(value).digest().readUInt32LE() % Repeats.BITS
  }
}
