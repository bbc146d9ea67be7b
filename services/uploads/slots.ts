import { serverBusy, tooManyUploads } from '../errors.js'

/** Uploads that are under way at the same time: at most half of `maxRequests`, and at most a quarter of that for one account. */
export function createUploadSlots (maxRequests: number) {
  const most = atLeastOne(maxRequests / 2)
  const mostOfOne = atLeastOne(most / 4)
  /** By owner; those who have none are not in it. */
  const held = new Map<string, number>()
  let total = 0
  return { take, mostOfOne }

  /** A place for one more upload; what it gives gives the place back, once. 429 when the owner has too many, 503 when all together have. */
  function take (owner: string): () => void {
    const own = held.get(owner) ?? 0
    if (own >= mostOfOne) throw tooManyUploads()
    if (total >= most) throw serverBusy()
    total++
    held.set(owner, own + 1)
    let isHeld = true
    return () => {
      if (isHeld) give(owner)
      isHeld = false
    }
  }

  function give (owner: string): void {
    const left = held.get(owner)! - 1
    total--
    if (left > 0) held.set(owner, left)
    else held.delete(owner)
  }
}

const atLeastOne = (count: number) => Math.max(1, Math.floor(count))
