import type { Collection, Filter, ObjectId, SortDirection } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { MediaStore } from '../ports.js'

/** Rows that are tried: the oldest, and as many of the newest. */
const SAMPLE = 10
const TIMEOUT_MS = 10_000
/** The object, a redirect to it, or that it is empty. */
const PUBLIC = /^(20[06]|30[12378]|416)$/

export interface PublicAccessOptions {
  library: Pick<Collection<LibraryDocument>, 'find'>
  urls: Pick<MediaStore, 'url' | 'keyOf'>
  /** Whether pictures of the replaced system are tried, or those of this service. */
  kind: 'old' | 'new'
  /** Whether the store has an object. Without it a picture that is gone counts as one that is not public. */
  has?: (key: string) => Promise<boolean>
  /** Replaces `fetch`. */
  get?: typeof fetch
}

export interface PublicAccess {
  tried: number
  /** Pictures that are not public, and what their address answers. */
  refused: Array<{ id: ObjectId, answer: string }>
}

/**
 * Fetches the first byte of a sample of pictures without credentials, as the mobile app does. Takes only addresses of
 * this bucket. Follows no redirect. Never rejects for what a picture's address answers.
 */
export async function checkPublicAccess ({
  library,
  urls,
  kind,
  has = async () => true,
  get = fetch
}: PublicAccessOptions): Promise<PublicAccess> {
  const hasKey: Filter<LibraryDocument> = { key: { $gt: '' } }
  const filter = kind === 'new' ? hasKey : { $nor: [hasKey], url: { $gt: '' } }
  const places = new Map<string, { id: ObjectId, address: string }>()
  for (const direction of [1, -1] satisfies SortDirection[]) {
    const rows = library.find(filter, { projection: { key: 1, url: 1 } }).sort({ _id: direction }).limit(SAMPLE)
    for await (const { _id, key, url = '' } of rows) {
      const address = key ? urls.url(key) : url
      const place = urls.keyOf(address)
      if (place !== undefined && await has(place)) places.set(String(_id), { id: _id, address })
    }
  }
  const answers = await Promise.all([...places.values()].map(async ({ id, address }) => ({
    id,
    answer: await answerOf(address, get)
  })))
  return { tried: answers.length, refused: answers.filter(({ answer }) => !PUBLIC.test(answer)) }
}

async function answerOf (address: string, get: typeof fetch): Promise<string> {
  try {
    const response = await get(address, {
      headers: { range: 'bytes=0-0' },
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS)
    })
    await response.body?.cancel()
    return String(response.status)
  } catch {
    return 'nothing'
  }
}

/** The lines of a report. */
export const toLines = ({ refused }: PublicAccess): string[] => refused.map(({ id, answer }) =>
  `library ${String(id)}: open: its address answers ${answer} to clients without credentials`)
