/** Resolves with the first truthy result of `probe`. Rejects after 20 s. */
export async function eventually<T> (probe: () => Promise<T> | T): Promise<Exclude<T, false | undefined | null>> {
  const giveUp = Date.now() + 20_000
  for (;;) {
    const value = await probe()
    if (value) return value as Exclude<T, false | undefined | null>
    if (Date.now() > giveUp) throw new Error('it did not happen')
    await new Promise(resolve => setTimeout(resolve, 25))
  }
}
