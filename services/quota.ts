import type { Collection, ObjectId } from 'mongodb'
import type { LibraryDocument, UsageDocument } from '../schemas/documents.js'
import { isDuplicateKey, tooManyBytes, tooManyItems } from './errors.js'
import type { Clock } from './ports.js'

const KEPT_MS = 24 * 3600 * 1000

export interface QuotaOptions {
  usage: Collection<UsageDocument>
  library: Collection<LibraryDocument>
  /** Per owner, renditions included; undefined or 0: as much as they like. */
  maxBytes?: number
  maxItems?: number
  /** How long an upload may take from its claim to its end; later its claim is void. */
  claimMs: number
  now: Clock
}

interface Claim { end: () => Promise<void> }
const NOTHING_CLAIMED: Claim = { end: async () => {} }

/** How much each owner may have in the library. */
export function createQuota ({ usage, library, maxBytes = 0, maxItems = 0, claimMs, now }: QuotaOptions) {
  return { claim }

  /**
   * Claims room for an item that is about to be added; `end` it when the item is there, or will never be. 413 when there is no room.
   * What one owner claims at the same time, in whatever process, is settled by one compare-and-set after another.
   */
  async function claim (owner: string | undefined, id: ObjectId, bytes: number): Promise<Claim> {
    if (owner === undefined || (maxBytes === 0 && maxItems === 0)) return NOTHING_CLAIMED
    for (;;) {
      const found = await usage.findOne({ _id: owner })
      const claims = (found?.claims ?? []).filter(({ at }) => at.getTime() > now().getTime() - claimMs)
      const used = await usedBy(owner, claims.map(({ id }) => id))
      if (maxItems > 0 && used.items + claims.length >= maxItems) throw tooManyItems(maxItems)
      if (maxBytes > 0 && claims.reduce((sum, { bytes }) => sum + bytes, used.bytes + bytes) > maxBytes) throw tooManyBytes(maxBytes)
      const version = found?.version ?? 0
      const next = { version: version + 1, claims: [...claims, { id, bytes, at: now() }], purge_at: new Date(now().getTime() + KEPT_MS) }
      if (await written(owner, version, next)) return { end: () => end(owner, id) }
    }
  }

  async function written (owner: string, version: number, next: Omit<UsageDocument, '_id'>): Promise<boolean> {
    try {
      const { matchedCount, upsertedCount } = await usage.replaceOne({ _id: owner, version }, next, { upsert: version === 0 })
      return matchedCount + upsertedCount === 1
    } catch (error) {
      if (isDuplicateKey(error)) return false
      throw error
    }
  }

  /** What cannot be ended now ends by its age. */
  async function end (owner: string, id: ObjectId): Promise<void> {
    await usage.updateOne({ _id: owner }, { $pull: { claims: { id } } }).catch(() => {})
  }

  /** What is in the library, but for what is claimed and may be there already. */
  async function usedBy (owner: string, claimed: ObjectId[]): Promise<{ bytes: number, items: number }> {
    const [sum] = await library.aggregate<{ bytes: number, items: number }>([
      { $match: { owner, _id: { $nin: claimed } } },
      { $group: { _id: null, items: { $sum: 1 }, bytes: { $sum: { $reduce: { input: { $ifNull: ['$renditions', []] }, initialValue: { $ifNull: ['$size', 0] }, in: { $add: ['$$value', '$$this.bytes'] } } } } } }
    ], { readPreference: 'primary' }).toArray()
    return sum ?? { bytes: 0, items: 0 }
  }
}
