import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { readMeta, type Meta } from './meta.js'
import { isWhole } from './pages.js'

/** What a data file was when it was closed: its last transaction, its size and the checksum of its bytes. */
interface Seal { transaction: string, size: number, checksum: number }

const CHUNK_BYTES = 1024 * 1024

/** Whether the folder has a store, or had one. */
export const hasStore = (folder: string) => existsSync(dataFile(folder))
const dataFile = (folder: string) => join(folder, 'data.mdb')
const sealFile = (folder: string) => join(folder, 'data.seal')

export function damaged (folder: string, cause?: unknown): Error {
  return broken(dataFile(folder), 'damaged', cause)
}

export function broken (file: string, how: 'damaged' | 'missing', cause?: unknown): Error {
  return new Error(
    `${file} is ${how}: restore DATA_DIR from a copy, or set DATA_DIR to a new folder to begin anew`,
    { cause }
  )
}

/** Opens and reads a store. LMDB's error about a broken file becomes one clear sentence. */
export function opened<T> (folder: string, open: () => T): T {
  try {
    return open()
  } catch (error) {
    throw error instanceof Error && error.message.startsWith('MDB_') ? damaged(folder, error) : error
  }
}

/**
 * Must run before LMDB opens the folder, because LMDB crashes the process on a damaged file. Throws one clear sentence.
 * A file that was closed is compared with its seal. One whose process was killed has none: its pages are checked, and
 * `isSealed` is false; then the caller must check what they hold.
 * A file that is shorter than it says, which need not be damage, is extended, because LMDB would read beyond its end.
 */
export function checkDataFile (folder: string): { isSealed: boolean } {
  if (!hasStore(folder)) return { isSealed: true }
  const file = openSync(dataFile(folder), 'r')
  try {
    const { size } = fstatSync(file)
    const meta = readMeta(file)
    if (meta === undefined) throw damaged(folder)
    const seal = readSeal(folder)
    const isSealed = seal?.transaction === String(meta.transaction)
    const isGood = isSealed
      ? seal.size === size && seal.checksum === checksumOf(file)
      : isWhole(file, size, meta)
    if (!isGood) throw damaged(folder)
    rmSync(sealFile(folder), { force: true })
    extend(folder, size, meta)
    return { isSealed }
  } finally {
    closeSync(file)
  }
}

/** Must run after LMDB has closed the folder. A file that is gone is no error. */
export function sealDataFile (folder: string): void {
  if (!hasStore(folder)) return
  const file = openSync(dataFile(folder), 'r')
  try {
    const meta = readMeta(file)
    if (meta === undefined) return
    const seal: Seal = {
      transaction: String(meta.transaction),
      size: fstatSync(file).size,
      checksum: checksumOf(file)
    }
    writeFileSync(sealFile(folder), JSON.stringify(seal), { flush: true })
  } finally {
    closeSync(file)
  }
}

/** A seal that cannot be read is none. */
function readSeal (folder: string): Partial<Seal> | undefined {
  try {
    return Object(JSON.parse(readFileSync(sealFile(folder), 'utf8'))) as Partial<Seal>
  } catch {
    return undefined
  }
}

function checksumOf (file: number): number {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  let checksum = 0
  for (let at = 0; ;) {
    const length = readSync(file, chunk, 0, CHUNK_BYTES, at)
    if (length === 0) return checksum
    checksum = crc32(chunk.subarray(0, length), checksum)
    at += length
  }
}

function extend (folder: string, size: number, { lastPage, pageSize }: Meta): void {
  const wanted = (lastPage + 1) * pageSize
  if (size < wanted) truncateSync(dataFile(folder), wanted)
}
