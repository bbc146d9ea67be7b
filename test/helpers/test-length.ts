/**
 * A test's length: in `npm test`, in `npm run test:long`, and against the slow independent servers. `test:long` runs
 * the test files that import this one.
 */
export function scale ({ short, long, real = short }: { short: number, long: number, real?: number }): number {
  if (process.env.TEST_LONG) return long
  return process.env.TEST_REAL ? real : short
}

/** The seed that TEST_SEED gives to the tests that play at random, to repeat a failure. */
export const SEED = process.env.TEST_SEED === undefined ? undefined : Number(process.env.TEST_SEED)
