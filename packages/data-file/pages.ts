import { readSync } from 'node:fs'
import { integer, treeAt, type Meta, type Tree } from './meta.js'

/** Members of a page (mdb.c, MDB_page_header) and of a node in it (MDB_node), by offset. */
const PAGE = { number: 0, flags: 18, lower: 20, upper: 22, pages: 20, header: 24 }
const NODE = { low: 0, high: 2, flags: 4, keySize: 6, header: 8 }
const KINDS = 0x6f
const BRANCH = 1
const LEAF = 2
const OVERFLOW = 4
const BIG_DATA = 1
const SUB_TREE = 2
const REFERENCE_BYTES = 24
const TREE_BYTES = 48
const NO_PAGE = 2 ** 64
const MAX_DEPTH = 32

interface Node { flags: number, low: number, data: number, bytes: Buffer }

/**
 * Walks all trees of an LMDB file and checks what LMDB relies on: each page says its own number and belongs to one
 * place, each node lies within its page, and each tree has as many pages and entries as it says.
 */
export function isWhole (file: number, size: number, meta: Meta): boolean {
  try {
    const walk = new Walk(file, size, meta)
    for (const tree of meta.trees) walk.tree(tree)
    return true
  } catch (error) {
    if (error instanceof Damage || error instanceof RangeError) return false
    throw error
  }
}

class Damage extends Error {}

class Walk {
  readonly #file: number
  readonly #pageSize: number
  readonly #pages: number
  readonly #seen = new Set<number>()

  constructor (file: number, size: number, { pageSize, lastPage }: Meta) {
    this.#file = file
    this.#pageSize = pageSize
    this.#pages = Math.min(lastPage + 1, Math.floor(size / pageSize))
  }

  tree ({ root, ...told }: Tree): void {
    const found: Omit<Tree, 'root'> = { branches: 0, leaves: 0, overflows: 0, entries: 0 }
    if (root !== NO_PAGE) this.#page(root, found, 0)
    for (const name of ['branches', 'leaves', 'overflows', 'entries'] as const) {
      if (found[name] !== told[name]) throw new Damage(name)
    }
  }

  #page (number: number, found: Omit<Tree, 'root'>, depth: number): void {
    const bytes = this.#read(number)
    const kind = bytes.readUInt16LE(PAGE.flags) & KINDS
    if (depth > MAX_DEPTH || (kind !== BRANCH && kind !== LEAF)) throw new Damage('kind')
    const nodes = this.#nodes(bytes)
    if (kind === BRANCH) {
      found.branches++
      for (const { low, flags } of nodes) this.#page(low + flags * 2 ** 32, found, depth + 1)
    } else {
      found.leaves++
      found.entries += nodes.length
      for (const node of nodes) this.#leaf(node, found)
    }
  }

  #leaf ({ flags, low: length, data, bytes }: Node, found: Omit<Tree, 'root'>): void {
    if (flags === BIG_DATA) {
      if (data + REFERENCE_BYTES > bytes.length) throw new Damage('reference')
      found.overflows += this.#overflow(integer(bytes, data), length)
    } else if (data + length > bytes.length || (flags !== 0 && (flags !== SUB_TREE || length !== TREE_BYTES))) {
      throw new Damage('node')
    } else if (flags === SUB_TREE) this.tree(treeAt(bytes, data))
  }

  #overflow (number: number, length: number): number {
    const bytes = this.#read(number)
    const pages = Math.ceil((PAGE.header + length) / this.#pageSize)
    if ((bytes.readUInt16LE(PAGE.flags) & KINDS) !== OVERFLOW || bytes.readUInt32LE(PAGE.pages) < pages) {
      throw new Damage('overflow')
    }
    for (let next = number + 1; next < number + pages; next++) this.#take(next)
    return bytes.readUInt32LE(PAGE.pages)
  }

  #nodes (bytes: Buffer): Node[] {
    const [lower, upper] = [bytes.readUInt16LE(PAGE.lower), bytes.readUInt16LE(PAGE.upper)]
    if (lower > upper || PAGE.header + upper > bytes.length) throw new Damage('free space')
    return Array.from({ length: lower >> 1 }, (_, index) => {
      const at = PAGE.header + bytes.readUInt16LE(PAGE.header + 2 * index)
      const data = at + NODE.header + bytes.readUInt16LE(at + NODE.keySize)
      if (at < PAGE.header + upper || data > bytes.length) throw new Damage('node')
      const low = bytes.readUInt16LE(at + NODE.low) + bytes.readUInt16LE(at + NODE.high) * 2 ** 16
      return { flags: bytes.readUInt16LE(at + NODE.flags), low, data, bytes }
    })
  }

  #read (number: number): Buffer {
    this.#take(number)
    const bytes = Buffer.allocUnsafe(this.#pageSize)
    const length = readSync(this.#file, bytes, 0, this.#pageSize, number * this.#pageSize)
    if (length < this.#pageSize || integer(bytes, PAGE.number) !== number) throw new Damage('number')
    return bytes
  }

  #take (number: number): void {
    if (number < 2 || number >= this.#pages || this.#seen.has(number)) throw new Damage('place')
    this.#seen.add(number)
  }
}
