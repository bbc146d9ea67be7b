const EMPTY = Buffer.alloc(0)

/** Reads lines and delimited bytes from a stream of chunks, keeping at most a chunk and a line. */
export class ByteReader {
  readonly #source: AsyncIterator<Buffer>
  #buffer: Buffer = EMPTY

  constructor (source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  /** The next line without its CRLF (or LF); undefined when the source ends first or the line exceeds the limit. */
  async line (limit: number): Promise<string | undefined> {
    for (;;) {
      const end = this.#buffer.indexOf('\n')
      if (end > limit || (end === -1 && this.#buffer.length > limit)) return undefined
      if (end !== -1) return this.#take(end + 1).toString('latin1').replace(/\r?\n$/, '')
      if (!await this.#fill()) return undefined
    }
  }

  /** Yields everything before the delimiter and skips it. Returns false at the end when it never came. */
  async * until (delimiter: Buffer): AsyncGenerator<Buffer, boolean> {
    for (;;) {
      const at = this.#buffer.indexOf(delimiter)
      if (at !== -1) {
        if (at > 0) yield this.#take(at)
        this.#take(delimiter.length)
        return true
      }
      const safe = this.#buffer.length - delimiter.length + 1
      if (safe > 0) yield this.#take(safe)
      if (!await this.#fill()) return false
    }
  }

  /** Reads and drops the rest of the source. */
  async skip (): Promise<void> {
    do { this.#buffer = EMPTY } while (await this.#fill())
  }

  #take (count: number): Buffer {
    const taken = this.#buffer.subarray(0, count)
    this.#buffer = this.#buffer.subarray(count)
    return taken
  }

  async #fill (): Promise<boolean> {
    const { done, value } = await this.#source.next()
    if (done === true) return false
    this.#buffer = this.#buffer.length === 0 ? value : Buffer.concat([this.#buffer, value])
    return true
  }
}
