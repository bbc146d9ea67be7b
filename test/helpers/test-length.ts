/**
 * How often a long test repeats itself: in `npm test`, in `npm run test:long`, and against the slow independent
 * servers.
 */
export function scale ({ short, long, real = short }: { short: number, long: number, real?: number }): number {
  if (process.env.TEST_LONG) return long
  return process.env.TEST_REAL ? real : short
}
