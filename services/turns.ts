/** Does at most `atOnce` of the works it is given at the same time, first come, first served; settles as each of them does. */
export function createTurns (atOnce: number) {
  const waiting: Array<() => void> = []
  let running = 0

  return async function inTurn<T> (work: () => Promise<T>): Promise<T> {
    if (running === atOnce) await new Promise<void>(resolve => waiting.push(resolve))
    else running++
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }
}
