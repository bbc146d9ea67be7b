import { readSync } from 'node:fs'

/** The description of a tree (mdb.c, MDB_db): its pages by kind, its entries, and its first page. */
export interface Tree { branches: number, leaves: number, overflows: number, entries: number, root: number }

/** The newest of the two meta pages (mdb.c, MDB_meta). */
export interface Meta { pageSize: number, lastPage: number, transaction: bigint, trees: Tree[] }

const MAGIC = 0xbeefc0de
const META_BYTES = 160
/** The offset of each member in a meta page. */
const AT = { magic: 24, pageSize: 48, freeTree: 48, mainTree: 96, lastPage: 144, transaction: 152 }

/** Undefined when one of the two meta pages is not LMDB's. */
export function readMeta (file: number): Meta | undefined {
  const first = readPage(file, 0)
  const second = first && readPage(file, first.pageSize)
  if (first === undefined || second?.pageSize !== first.pageSize) return undefined
  return first.transaction > second.transaction ? first : second
}

function readPage (file: number, offset: number): Meta | undefined {
  const page = Buffer.alloc(META_BYTES)
  const length = readSync(file, page, 0, META_BYTES, offset)
  if (length < META_BYTES || page.readUInt32LE(AT.magic) !== MAGIC) return undefined
  const pageSize = page.readUInt32LE(AT.pageSize)
  const lastPage = integer(page, AT.lastPage)
  if (pageSize < 512 || pageSize > 65_536 || lastPage > 2 ** 40) return undefined
  return {
    pageSize,
    lastPage,
    transaction: page.readBigUInt64LE(AT.transaction),
    trees: [treeAt(page, AT.freeTree), treeAt(page, AT.mainTree)]
  }
}

export function treeAt (bytes: Buffer, at: number): Tree {
  const [branches = 0, leaves = 0, overflows = 0, entries = 0, root = 0] = [8, 16, 24, 32, 40].map(offset =>
    integer(bytes, at + offset))
  return { branches, leaves, overflows, entries, root }
}

export const integer = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at))
