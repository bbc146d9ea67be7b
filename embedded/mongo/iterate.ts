export function * take<T> (items: Iterable<T>, count: number): Iterable<T> {
  if (count === 0) return
  let left = count
  for (const item of items) {
    yield item
    if (--left === 0) return
  }
}

export function * drop<T> (items: Iterable<T>, count: number): Iterable<T> {
  let left = count
  for (const item of items) {
    if (left > 0) left--
    else yield item
  }
}

export function lengthOf (items: Iterable<unknown>): number {
  const iterator = items[Symbol.iterator]()
  let length = 0
  while (iterator.next().done !== true) length++
  return length
}
