/**
 * Shares one read among callers that ask at the same time (request coalescing). No caller gets the result of a read
 * that began before its call, because that could miss a write acknowledged meanwhile. The caller shares the next read,
 * which begins when the present one ends, also if that fails. The shared value must not be changed.
 */
export function createSharedRead<T> (read: () => Promise<T>): () => Promise<T> {
  let present: Promise<T> | undefined
  let next: Promise<T> | undefined

  return function ask () {
    if (!present) return begin()
    const beginNext = () => {
      next = undefined
      return begin()
    }
    next ??= present.then(beginNext, beginNext)
    return next
  }

  function begin (): Promise<T> {
    const reading = read()
    present = reading
    const over = () => { if (present === reading) present = undefined }
    reading.then(over, over)
    return reading
  }
}
