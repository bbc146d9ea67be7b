export function * take<T> (items: Iterable<T>, count: number): Iterable<T> {
  let left = count
  for (const item of items) {
    yield item
    if (--left === 0) return
  }
}

/** How many items come, at most `most`. */
export function lengthOf (items: Iterable<unknown>, most = Infinity): number {
  const iterator = items[Symbol.iterator]()
  let length = 0
  while (length < most && iterator.next().done !== true) length++
  return length
}
