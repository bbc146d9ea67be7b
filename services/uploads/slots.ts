import { serverBusy, tooManyUploads } from '../errors.js'

/**
 * Uploads that are under way at the same time: at most half of `maxRequests`, and at most a quarter of that for one
 * account.
 */
export function createUploadSlots (maxRequests: number) {
  const max = atLeastOne(maxRequests / 2)
  const maxOfOne = atLeastOne(max / 4)
  /** By owner; those who have none are not in it. */
  const taken = new Map<string, number>()
  let total = 0
  return { take, maxOfOne }

  /**
   * A place for one more upload; what it gives gives the place back, once. 429 when the owner has too many, 503 when
   * all together have.
   */
  function take (owner: string): () => void {
    const own = taken.get(owner) ?? 0
    if (own >= maxOfOne) throw tooManyUploads()
    if (total >= max) throw serverBusy()
    total++
    taken.set(owner, own + 1)
    let isHeld = true
    return () => {
      if (isHeld) give(owner)
      isHeld = false
    }
  }

  function give (owner: string): void {
    const left = taken.get(owner)! - 1
    total--
    if (left > 0) taken.set(owner, left)
    else taken.delete(owner)
  }
}

const atLeastOne = (count: number) => Math.max(1, Math.floor(count))
