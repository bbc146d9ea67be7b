import { randomInt } from 'node:crypto'
import { timeLeft, within } from './deadline.js'
import { CommandError } from './errors.js'
import { RawDocument, type Plain } from './values.js'

/** MongoDB's own limit: a cursor that was not used for ten minutes is closed. */
const IDLE_MS = 10 * 60 * 1000
const FIRST_BATCH = 101
const MAX_BATCH_BYTES = 16 * 1024 * 1024

interface Cursor {
  namespace: string
  results: Iterator<Buffer>
  pending: Buffer | undefined
  usedAt: number
  /** The rest of the `maxTimeMS` it was opened with, for all further batches together. */
  timeLeft: number | undefined
}

/** Open cursors: result streams that are read a batch at a time. */
export class Cursors {
  readonly #open = new Map<bigint, Cursor>()
  #last = BigInt(randomInt(2 ** 40)) << 20n

  /** Answers with the first batch, and keeps the rest when there is any (unless `single`). */
  first (namespace: string, results: Iterable<Buffer>, batchSize = FIRST_BATCH, single = false): Plain {
    const cursor: Cursor = {
      namespace,
      results: results[Symbol.iterator](),
      pending: undefined,
      usedAt: Date.now(),
      timeLeft: undefined
    }
    const { batch, done } = fill(cursor, batchSize)
    if (done || single) {
      cursor.results.return?.()
      return { firstBatch: batch, id: 0n, ns: namespace }
    }
    const id = ++this.#last
    cursor.timeLeft = timeLeft()
    this.#open.set(id, cursor)
    return { firstBatch: batch, id, ns: namespace }
  }

  /** Answers `getMore`. Throws CommandError 43 for a cursor that is not open. */
  next (id: bigint, namespace: string, batchSize: number | undefined): Plain {
    const cursor = this.#open.get(id)
    if (cursor === undefined) throw new CommandError(43, `cursor id ${id} not found`)
    cursor.usedAt = Date.now()
    const { batch, done } = this.#fillOrClose(id, cursor, batchSize)
    if (done) this.#close(id)
    return { nextBatch: batch, id: done ? 0n : id, ns: namespace }
  }

  #fillOrClose (id: bigint, cursor: Cursor, batchSize: number | undefined): { batch: RawDocument[], done: boolean } {
    try {
      return within(cursor.timeLeft, () => {
        const filled = fill(cursor, batchSize ?? Infinity)
        if (cursor.timeLeft !== undefined) cursor.timeLeft = timeLeft()
        return filled
      })
    } catch (error) {
      this.#close(id)
      throw error
    }
  }

  kill (id: bigint): boolean {
    return this.#close(id)
  }

  killNamespace (namespace: string): void {
    for (const [id, cursor] of this.#open) if (cursor.namespace === namespace) this.#close(id)
  }

  closeIdle (): void {
    const oldest = Date.now() - IDLE_MS
    for (const [id, { usedAt }] of this.#open) if (usedAt < oldest) this.#close(id)
  }

  #close (id: bigint): boolean {
    this.#open.get(id)?.results.return?.()
    return this.#open.delete(id)
  }
}

/** Takes up to `size` documents, and no more than fit into a reply. */
function fill (cursor: Cursor, size: number): { batch: RawDocument[], done: boolean } {
  const batch: RawDocument[] = []
  let bytes = 0
  while (true) {
    const next = cursor.pending === undefined ? cursor.results.next() : { value: cursor.pending, done: false }
    cursor.pending = undefined
    if (next.done === true) return { batch, done: true }
    if (batch.length >= size || (batch.length > 0 && bytes + next.value.length > MAX_BATCH_BYTES)) {
      cursor.pending = next.value
      return { batch, done: false }
    }
    batch.push(new RawDocument(next.value))
    bytes += next.value.length
  }
}
