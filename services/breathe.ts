import { setImmediate } from 'node:timers/promises'

/** Awaited in the middle of long work, with how many pixels were worked on since: others get their turn now and then. */
export type Breathe = (pixels: number) => Promise<void>

/** A few milliseconds of work. */
const BREATH_PIXELS = 64 * 1024

export function createBreathe (): Breathe {
  let done = 0
  return async pixels => {
    done += pixels
    if (done < BREATH_PIXELS) return
    done = 0
    await setImmediate()
  }
}
