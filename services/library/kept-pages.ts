import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { LRUCache } from 'lru-cache'

const compress = promisify(gzip)

/**
 * Milliseconds. A change whose writer died before it wrote the new version shows after this time. Clients that name
 * their ETag do not see it before the next version.
 */
export const KEPT_MS = 5000
const MAX_KEPT_BYTES = 16 * 1024 * 1024
/** Characters below which a page is not compressed. */
const MIN_COMPRESSED_LENGTH = 1024

/** A page as it is sent. */
export interface KeptPage {
  text: string
  /** The same in gzip, from the second use on. A page that is used once is not compressed. */
  gzip?: Buffer
}

/** Keeps pages as text, and compressed, for at most 5 s. Their keys hold the version of the library. */
export function createKeptPages (monotonic = () => performance.now()) {
  const kept = new LRUCache<string, KeptPage>({
    maxSize: MAX_KEPT_BYTES,
    sizeCalculation: ({ text, gzip }, key) => 2 * (text.length + key.length) + (gzip?.length ?? 0),
    ttl: KEPT_MS,
    ttlResolution: 0,
    noUpdateTTL: true,
    perf: { now: monotonic }
  })
  /** Pages that are being read or compressed. */
  const making = new Map<string, Promise<KeptPage>>()

  /**
   * The page of this key. Callers at the same time share one `read`, and its failure. A page that is kept already is
   * compressed for a client that takes it so.
   */
  return async function keptPage (key: string, read: () => Promise<string>, takesGzip: boolean): Promise<KeptPage> {
    const page = kept.get(key)
    if (page && !takesGzip) return { text: page.text }
    if (page?.gzip || (page && page.text.length < MIN_COMPRESSED_LENGTH)) return page
    const present = making.get(key)
    if (present) return present
    const made = (page ? withGzip(page) : read().then((text): KeptPage => ({ text })))
      .then(page => {
        kept.set(key, page)
        return page
      })
      .finally(() => making.delete(key))
    making.set(key, made)
    return made
  }
}

const withGzip = async ({ text }: KeptPage): Promise<KeptPage> => ({ text, gzip: await compress(text) as Buffer })
