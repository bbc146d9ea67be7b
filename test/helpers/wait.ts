const PATIENCE_MS = 60_000

/** Resolves with the first truthy result of `probe`. Rejects after a minute, and says that `event` did not happen. */
export async function eventually<T> (
  probe: () => Promise<T> | T,
  event = 'it'
): Promise<Exclude<T, false | undefined | null>> {
  const giveUp = Date.now() + PATIENCE_MS
  for (let pause = 1; ; pause = Math.min(pause * 2, 25)) {
    const value = await probe()
    if (value) return value as Exclude<T, false | undefined | null>
    if (Date.now() > giveUp) throw new Error(`did not happen in ${PATIENCE_MS / 1000} s: ${event}`)
    await new Promise(resolve => setTimeout(resolve, pause))
  }
}
