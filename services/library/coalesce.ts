/**
 * Lets those who ask for the same thing while it is being looked for share one answer (request coalescing). Nobody gets
 * an answer that was begun before they asked, which
 * could miss what was acknowledged meanwhile: they share the one that begins when the present one is there. When that
 * fails, so do they, as they have waited already.
 * What is shared must not be changed.
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
