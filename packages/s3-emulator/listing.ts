import { S3Error } from './errors.js'
import { encodeListed } from './names.js'
import { queryValue, type Target } from './target.js'

const MAX_PAGE = 1000

export interface Page<T> {
  items: T[]
  prefixes: string[]
  truncated: boolean
  /** Where the page ended: a key or a common prefix. */
  last: string | undefined
}

interface Window {
  prefix: string
  delimiter: string
  /** Keys up to and including this one (or all that begin with it, when it is a common prefix) were listed before. */
  after: string
  limit: number
}

/**
 * One page of keys in UTF-8 binary order, rolled up at the delimiter. `from` yields items in that order from a byte
 * position on. A common prefix is skipped, not read through.
 */
export function rollUp<T extends { key: string }> (
  from: (start: Buffer) => Iterable<T>,
  { prefix, delimiter, after, limit }: Window
): Page<T> {
  const page: Page<T> = { items: [], prefixes: [], truncated: false, last: undefined }
  if (limit === 0) return page
  let start: Buffer | undefined = firstAfter(prefix, delimiter, after)
  while (start !== undefined) {
    const position: Buffer = start
    start = undefined
    for (const item of from(position)) {
      if (!item.key.startsWith(prefix)) return page
      if (page.items.length + page.prefixes.length === limit) {
        page.truncated = true
        return page
      }
      const cut = delimiter === '' ? -1 : item.key.indexOf(delimiter, prefix.length)
      if (cut !== -1) {
        const common = item.key.slice(0, cut + delimiter.length)
        page.prefixes.push(common)
        page.last = common
        start = successor(common)
        break
      }
      page.items.push(item)
      page.last = item.key
    }
  }
  return page
}

/** Throws InvalidArgument; more than a thousand means a thousand. */
export function pageLimit (query: Target['query'], name: string): number {
  const text = queryValue({ query }, name)
  if (text === undefined || text === '') return MAX_PAGE
  if (!/^\d{1,10}$/.test(text) || Number(text) > 0x7FFFFFFF) {
    throw new S3Error(
      'InvalidArgument',
      /^-\d+$/.test(text)
        ? `Argument ${name} must be an integer between 0 and 2147483647`
        : `Provided ${name} not an integer or within integer range`,
      { ArgumentName: name, ArgumentValue: text }
    )
  }
  return Math.min(Number(text), MAX_PAGE)
}

/** Encodes names for the answer: unchanged, or as `encoding-type=url` asks. */
export function nameEncoder (query: Target['query']): {
  encodingType: string | undefined
  encode: (name: string) => string
} {
  const encodingType = queryValue({ query }, 'encoding-type')
  if (encodingType === undefined) return { encodingType, encode: name => name }
  if (encodingType !== 'url') {
    throw new S3Error('InvalidArgument', 'Invalid Encoding Method specified in Request', {
      ArgumentName: 'encoding-type',
      ArgumentValue: encodingType
    })
  }
  return { encodingType, encode: encodeListed }
}

function firstAfter (prefix: string, delimiter: string, after: string): Buffer {
  if (after === '') return Buffer.from(prefix)
  const cut = delimiter === '' || !after.startsWith(prefix) ? -1 : after.indexOf(delimiter, prefix.length)
  const next = cut !== -1 && cut + delimiter.length === after.length
    ? successor(after)
    : Buffer.concat([Buffer.from(after), Buffer.alloc(1)])
  const first = Buffer.from(prefix)
  return Buffer.compare(next, first) > 0 ? next : first
}

/** The first byte string that does not begin with the text; UTF-8 has no byte 0xFF, so the last one can grow. */
function successor (text: string): Buffer {
  const bytes = Buffer.from(text)
  const last = bytes.length - 1
  bytes[last] = (bytes[last] ?? 0) + 1
  return bytes
}
