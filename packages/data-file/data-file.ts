import { closeSync, existsSync, fstatSync, openSync, readSync, truncateSync } from 'node:fs'
import { join } from 'node:path'

/** LMDB's meta page (mdb.c, MDB_meta): the offset of each member in its page. A file has two of them. */
const META = { magic: 24, pageSize: 48, lastPage: 144, transaction: 152, end: 160 }
const MAGIC = 0xbeefc0de

/** Whether the folder has a store, or had one. */
export const hasStore = (folder: string) => existsSync(dataFile(folder))
const dataFile = (folder: string) => join(folder, 'data.mdb')

export function damaged (folder: string, cause?: unknown): Error {
  return new Error(
    `${dataFile(folder)} is damaged: restore DATA_DIR from a copy, or set DATA_DIR to a new folder to begin anew`,
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
 * Must run before LMDB opens the folder. Throws one clear sentence when the file is not LMDB's.
 * `isShort`: the file was shorter than it says, which need not be damage. It is then extended, because LMDB would read
 * beyond its end and crash the process. The caller must then read all of it.
 */
export function checkDataFile (folder: string): { isShort: boolean } {
  if (!hasStore(folder)) return { isShort: false }
  const file = openSync(dataFile(folder), 'r')
  try {
    const { size } = fstatSync(file)
    if (size === 0) throw damaged(folder)
    const pages = [0, readMeta(file, 0)?.pageSize ?? 4096].map(offset => readMeta(file, offset))
    const newest = pages.flatMap(page => page ?? []).sort((a, b) => Number(b.transaction - a.transaction))[0]
    if (newest === undefined || pages.includes(undefined)) throw damaged(folder)
    const wanted = (newest.lastPage + 1) * newest.pageSize
    if (size < wanted) truncateSync(dataFile(folder), wanted)
    return { isShort: size < wanted }
  } finally {
    closeSync(file)
  }
}

function readMeta (file: number, offset: number):
  | { pageSize: number, lastPage: number, transaction: bigint }
  | undefined {
  const page = Buffer.alloc(META.end)
  if (readSync(file, page, 0, META.end, offset) < META.end || page.readUInt32LE(META.magic) !== MAGIC) return undefined
  const pageSize = page.readUInt32LE(META.pageSize)
  const lastPage = Number(page.readBigUInt64LE(META.lastPage))
  return pageSize >= 512 && pageSize <= 65_536 && lastPage < 2 ** 40
    ? { pageSize, lastPage, transaction: page.readBigUInt64LE(META.transaction) }
    : undefined
}
