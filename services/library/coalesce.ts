/**
 * Shares one answer among callers that ask for the same key at the same time (request coalescing). No caller gets an
 * answer that began before its call, because that could miss a write acknowledged meanwhile. It shares the next one,
 * which begins when the present one ends. If the present one fails, the waiting callers fail too, because they have
 * waited already. The shared value must not be changed.
 */
export function createCoalescer<T> () {
  const present = new Map<string, Promise<T>>()
  const next = new Map<string, Promise<T>>()

  return function ask (key: string, find: () => Promise<T>): Promise<T> {
    const current = present.get(key)
    if (!current) return begin(key, find)
    const following = next.get(key) ?? current.then(() => {
      next.delete(key)
      return begin(key, find)
    }, error => {
      next.delete(key)
      throw error
    })
    next.set(key, following)
    return following
  }

  function begin (key: string, find: () => Promise<T>): Promise<T> {
    const finding = find()
    present.set(key, finding)
    const over = () => { if (present.get(key) === finding) present.delete(key) }
    finding.then(over, over)
    return finding
  }
}
