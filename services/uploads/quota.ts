import type { Collection, ObjectId } from 'mongodb'
import type { LibraryDocument, UsageDocument } from '../../schemas/documents.js'
import { isDuplicateKey, tooManyBytes, tooManyItems, tooManyOpenUploads } from '../errors.js'
import { insertIfAbsent } from '../insert-if-absent.js'
import type { Clock } from '../ports.js'
import { retryConflict } from '../retry.js'

const KEPT_MS = 25 * 3600 * 1000
/** The most direct uploads of one owner whose form can still be used. */
const MAX_STAGED = 20

export interface QuotaOptions {
  usage: Collection<UsageDocument>
  library: Collection<LibraryDocument>
  /** Per owner, renditions included. Undefined or 0: no limit. */
  maxBytes?: number
  maxItems?: number
  /** How long an upload may take from its claim to its end. After that its claim is void. */
  claimMs: number
  now: Clock
}

type Owner = UsageDocument['_id']
type Usage = Required<Pick<UsageDocument, 'staged' | 'claims'>>
interface Claim { end: () => Promise<void> }
const NOTHING_CLAIMED: Claim = { end: async () => {} }

/**
 * Limits how much each owner has in the library and in progress. Concurrent requests of one owner, in any process, are
 * settled by one compare-and-set after another.
 */
export function createQuota ({ usage, library, maxBytes = 0, maxItems = 0, claimMs, now }: QuotaOptions) {
  const isLimited = maxBytes > 0 || maxItems > 0
  return { claim, stage, unstage }

  /**
   * Claims room for an item that is about to be added. Call `end` when the item is there, or never will be. 413 if
   * there is no room.
   */
  async function claim (owner: Owner | undefined, id: ObjectId, bytes: number): Promise<Claim> {
    if (owner === undefined || !isLimited) return NOTHING_CLAIMED
    await change(owner, async ({ staged, claims }) => {
      await requireRoom(owner, bytes, { staged: staged.filter(other => !other.id.equals(id)), claims })
      return { staged, claims: [...claims, { id, bytes, at: now() }] }
    })
    return { end: () => forget(owner, { claims: { id } }) }
  }

  /**
   * Reserves room for a direct upload until its form expires. Call `unstage` when it has become an item, or never will.
   * 413 if there is no room, 429 with 20 open ones.
   */
  async function stage (owner: Owner, id: ObjectId, bytes: number, until: Date): Promise<void> {
    if (!isLimited && await pushStaged(owner, { id, bytes, until })) return
    await change(owner, async ({ staged, claims }) => {
      if (staged.length >= MAX_STAGED) {
        throw tooManyOpenUploads(secondsUntil(Math.min(...staged.map(({ until }) => until.getTime()))))
      }
      await requireRoom(owner, bytes, { staged, claims })
      return { staged: [...staged, { id, bytes, until }], claims }
    })
  }

  /** One update is enough while only the number of entries is limited. False if there are 20, expired ones included. */
  async function pushStaged (owner: Owner, entry: Usage['staged'][number]): Promise<boolean> {
    try {
      await usage.updateOne(
        { _id: owner, [`staged.${MAX_STAGED - 1}`]: { $exists: false } },
        { $push: { staged: entry }, $inc: { version: 1 }, $set: { purge_at: new Date(now().getTime() + KEPT_MS) } },
        { upsert: true }
      )
      return true
    } catch (error) {
      if (isDuplicateKey(error)) return false // also when another request has made the document at the same moment
      throw error
    }
  }

  function unstage (owner: Owner, id: ObjectId): Promise<void> {
    return forget(owner, { staged: { id } })
  }

  async function change (owner: Owner, next: (usage: Usage) => Promise<Usage>): Promise<void> {
    await retryConflict('the usage of an account', async () => {
      const { version = 0, staged = [], claims = [] } = await usage.findOne({ _id: owner }) ?? {}
      const time = now().getTime()
      const changed = await next({
        staged: staged.filter(({ until }) => until.getTime() > time),
        claims: claims.filter(({ at }) => at.getTime() > time - claimMs)
      })
      const document = { _id: owner, version: version + 1, ...changed, purge_at: new Date(time + KEPT_MS) }
      return await write(document, version) || undefined
    })
  }

  /** False if another request has written since this `version` was read; 0: there was no document. */
  async function write (document: UsageDocument, version: number): Promise<boolean> {
    if (version === 0) return insertIfAbsent(usage, document)
    return (await usage.replaceOne({ _id: document._id, version }, document)).matchedCount === 1
  }

  async function requireRoom (owner: Owner, bytes: number, { staged, claims }: Usage): Promise<void> {
    if (!isLimited) return
    const used = await usedBy(owner, claims.map(({ id }) => id))
    if (maxItems > 0 && used.items + staged.length + claims.length >= maxItems) throw tooManyItems(maxItems)
    if (maxBytes > 0 && [...staged, ...claims].reduce((sum, { bytes }) => sum + bytes, used.bytes + bytes) > maxBytes) {
      throw tooManyBytes(maxBytes)
    }
  }

  /** If this fails, the entry becomes void by its age. */
  async function forget (
    owner: Owner,
    entry: { claims: { id: ObjectId } } | { staged: { id: ObjectId } }
  ): Promise<void> {
    await usage.updateOne({ _id: owner }, { $pull: entry, $inc: { version: 1 } }).catch(() => {})
  }

  /** The owner's items in the library, without claimed ones that may be there already. */
  async function usedBy (owner: Owner, claimed: ObjectId[]): Promise<{ bytes: number, items: number }> {
    const [sum] = await library.aggregate<{ bytes: number, items: number }>([
      { $match: { owner, _id: { $nin: claimed } } },
      {
        $group: {
          _id: null,
          items: { $sum: 1 },
          bytes: {
            $sum: {
              $reduce: {
                input: { $ifNull: ['$renditions', []] },
                initialValue: { $ifNull: ['$size', 0] },
                in: { $add: ['$$value', '$$this.bytes'] }
              }
            }
          }
        }
      }
    ]).toArray()
    return sum ?? { bytes: 0, items: 0 }
  }

  function secondsUntil (time: number): number {
    return Math.max(1, Math.ceil((time - now().getTime()) / 1000))
  }
}
