/** Waits until all of these have ended, well or not. Then it is like Promise.all. */
export async function allEnded<T extends readonly unknown[] | []> (works: T) {
  await Promise.allSettled(works)
  return Promise.all(works)
}
