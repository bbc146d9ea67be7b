import { performance } from 'node:perf_hooks'
import { badValue, CommandError } from './errors.js'
import { toSafeInteger } from './numbers.js'
import { isNumeric, type Value } from './values.js'

const MAX_MS = 2 ** 31 - 1

/** The deadline of the running command. There is only one, because commands run one at a time and to their end. */
let deadline = Infinity

/** The milliseconds of a `maxTimeMS`; undefined for none. Throws CommandError 2 when it is no time. */
export function maxTimeOf (value: Value | undefined): number | undefined {
  if (value === undefined || value === null) return undefined
  const time = isNumeric(value) ? toSafeInteger(value) : undefined
  if (time === undefined) throw badValue('maxTimeMS must be a number')
  if (time < 0 || time > MAX_MS) throw badValue(`${time} value for maxTimeMS is out of range [0, ${MAX_MS}]`)
  return time === 0 ? undefined : time
}

/** Runs `work`. In it `checkDeadline` throws once this many milliseconds have passed. */
export function within<T> (milliseconds: number | undefined, work: () => T): T {
  const outer = deadline
  deadline = Math.min(outer, milliseconds === undefined ? Infinity : performance.now() + milliseconds)
  try {
    return work()
  } finally {
    deadline = outer
  }
}

/** Throws CommandError 50 when the command has run for longer than its `maxTimeMS`. */
export function checkDeadline (): void {
  if (deadline !== Infinity && performance.now() > deadline) throw new CommandError(50, 'operation exceeded time limit')
}

/** The rest of the command's `maxTimeMS`; undefined when it has none. */
export const timeLeft = (): number | undefined =>
  deadline === Infinity ? undefined : Math.max(0, deadline - performance.now())
