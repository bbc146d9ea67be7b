import { randomUUID } from 'node:crypto'
import { createReadStream, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { open, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { broken } from '../data-file/data-file.js'
import type { Piece } from './records.js'

const READ_CHUNK = 256 * 1024

/**
 * Immutable files with names that the server makes. A file means nothing until metadata names it. So a crash leaves at
 * most files without a name, which `sweep` removes.
 */
export class Blobs {
  readonly #directory: string
  readonly #isDurable: boolean
  readonly #readers = new Map<string, number>()
  readonly #condemned = new Set<string>()
  readonly #removals = new Set<Promise<void>>()

  constructor (directory: string, isDurable: boolean) {
    this.#directory = directory
    this.#isDurable = isDurable
    mkdirSync(directory, { recursive: true })
  }

  /** Writes the whole source, durably if the store is. Fails when the source fails, and then leaves no file. */
  async write (source: AsyncIterable<Uint8Array>): Promise<{ blob: string, size: number }> {
    const blob = randomUUID()
    const path = join(this.#directory, blob)
    const file = await open(path, 'wx')
    try {
      const size = await drainInto(file, source)
      if (this.#isDurable) await file.sync()
      await file.close()
      if (this.#isDurable) await this.#syncDirectory()
      return { blob, size }
    } catch (error) {
      await file.close().catch(() => {})
      await unlink(path).catch(() => {})
      throw error
    }
  }

  /** Reads the bytes [start, end) of the pieces laid end to end. The caller holds the pieces while it reads. */
  async * read (pieces: readonly Piece[], start: number, end: number): AsyncGenerator<Buffer> {
    let offset = 0
    for (const { blob, size } of pieces) {
      const from = Math.max(start - offset, 0)
      const to = Math.min(end - offset, size)
      offset += size
      if (from < to) {
        yield * createReadStream(join(this.#directory, blob), {
          start: from,
          end: to - 1,
          highWaterMark: READ_CHUNK
        }) as AsyncIterable<Buffer>
      }
    }
  }

  /** Keeps the pieces' files until the returned function is called once, also when they are discarded meanwhile. */
  hold (pieces: readonly Piece[]): () => void {
    for (const { blob } of pieces) this.#readers.set(blob, (this.#readers.get(blob) ?? 0) + 1)
    return () => { for (const { blob } of pieces) this.#letGo(blob) }
  }

  /** Removes files that no metadata names any more: now, or when their last reader has ended. */
  discard (blobs: Iterable<string>): void {
    for (const blob of blobs) {
      if (this.#readers.has(blob)) this.#condemned.add(blob)
      else this.#remove(blob)
    }
  }

  /**
   * Removes every file except the named ones. Only for the start, before anything is written or read. Throws one clear
   * sentence when a named file is missing or has another size.
   */
  sweep (named: ReadonlyMap<string, number>): void {
    for (const name of readdirSync(this.#directory)) {
      if (!named.has(name)) rmSync(join(this.#directory, name), { recursive: true, force: true })
    }
    for (const [name, size] of named) {
      const file = join(this.#directory, name)
      const found = statSync(file, { throwIfNoEntry: false })?.size
      if (found !== size) throw broken(file, found === undefined ? 'missing' : 'damaged')
    }
  }

  async close (): Promise<void> {
    await Promise.all(this.#removals)
  }

  #letGo (blob: string): void {
    const readers = (this.#readers.get(blob) ?? 1) - 1
    if (readers > 0) {
      this.#readers.set(blob, readers)
      return
    }
    this.#readers.delete(blob)
    if (this.#condemned.delete(blob)) this.#remove(blob)
  }

  #remove (blob: string): void {
    const removal = unlink(join(this.#directory, blob)).catch(() => {}).finally(() => {
      this.#removals.delete(removal)
    })
    this.#removals.add(removal)
  }

  async #syncDirectory (): Promise<void> {
    // A new name is durable once its directory is (fsync(2)); Windows has no such call and needs none.
    if (process.platform === 'win32') return
    const directory = await open(this.#directory, 'r')
    try { await directory.sync() } finally { await directory.close() }
  }
}

async function drainInto (file: FileHandle, source: AsyncIterable<Uint8Array>): Promise<number> {
  let size = 0
  for await (const chunk of source) {
    for (let written = 0; written < chunk.length;) {
      written += (await file.write(chunk, written)).bytesWritten
    }
    size += chunk.length
  }
  return size
}
