/** The index of the frame that is shown after a time. An animation begins anew at its end. */
export function frameAt (delays: number[], ms: number): number {
  const total = delays.reduce((sum, delay) => sum + delay, 0)
  if (total === 0) return 0
  let rest = ms % total
  const index = delays.findIndex(delay => (rest -= delay) < 0)
  return Math.max(index, 0)
}
