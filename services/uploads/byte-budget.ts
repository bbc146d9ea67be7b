/**
 * Uploads keep their compressed bytes until they are decoded: 50 uploads of 20 MB would need 1 GB. First come, first
 * served is fair here, because nobody waits for a slow client: an upload that waits for this memory is in the store
 * already. Memory that fills at the speed of clients needs eviction (store/gather-budget.ts).
 *
 * Lends a fixed amount of memory, in bytes, first come, first served. A request for more than the whole gets the whole,
 * alone. `reserve` waits, and rejects if `signal` aborts meanwhile. `tryReserve` does not wait: it returns undefined if
 * it would have to. Both give a function that returns the bytes, once.
 */
export function createByteBudget (total: number) {
  const waiting: Array<{ bytes: number, admit: () => void }> = []
  let free = total

  function admit (): void {
    while (waiting.length > 0 && waiting[0]!.bytes <= free) {
      const { bytes, admit } = waiting.shift()!
      free -= bytes
      admit()
    }
  }

  async function reserve (wanted: number, signal: AbortSignal): Promise<() => void> {
    const bytes = Math.min(wanted, total)
    signal.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      const entry = { bytes, admit: () => { signal.removeEventListener('abort', leave); resolve() } }
      const leave = () => {
        waiting.splice(waiting.indexOf(entry), 1)
        reject(signal.reason)
        admit()
      }
      signal.addEventListener('abort', leave, { once: true })
      waiting.push(entry)
      admit()
    })
    return lent(bytes)
  }

  function tryReserve (bytes: number): (() => void) | undefined {
    if (bytes > free || waiting.length > 0) return undefined
    free -= bytes
    return lent(bytes)
  }

  function lent (bytes: number): () => void {
    let bytesOut = bytes
    return () => {
      free += bytesOut
      bytesOut = 0
      admit()
    }
  }

  return { reserve, tryReserve }
}
