/** From 0, the length in `npm test`, to 1, the length in `npm run test:long`. */
const share = Number(process.env.TEST_LONG ?? 0)

/**
 * A test's length: in `npm test`, in `npm run test:long`, and against the slow independent servers. `test:long` runs
 * the test files that import this one.
 */
export function scale ({ short, long, real = short }: { short: number, long: number, real?: number }): number {
  if (share > 0) return Math.round(short + (long - short) * share)
  return process.env.TEST_REAL ? real : short
}

/** The seed that TEST_SEED gives to the tests that play at random, to repeat a failure. */
export const SEED = process.env.TEST_SEED === undefined ? undefined : Number(process.env.TEST_SEED)
