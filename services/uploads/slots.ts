import { serverBusy, tooManyUploads } from '../errors.js'

/** Limits concurrent uploads: at most half of `maxRequests`, and at most a quarter of that for one account. */
export function createUploadSlots (maxRequests: number) {
  const max = atLeastOne(maxRequests / 2)
  const maxOfOne = atLeastOne(max / 4)
  /** By owner. Owners without uploads are not in it. */
  const taken = new Map<string, number>()
  let total = 0
  return { take, maxOfOne }

  /**
   * Takes a place for one more upload. Returns a function that gives it back, once. 429 if the owner has too many, 503
   * if all owners together have.
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
