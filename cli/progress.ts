import type { WriteStream } from 'node:tty'

const BAR = 30
/** Between two lines in a log. */
const LINE_MS = 10_000
/** Between two pictures on a terminal. */
const PICTURE_MS = 100

/**
 * Shows how far a command is on an output beside its report: a bar on a terminal, else a line every ten seconds.
 * `end` clears the bar.
 */
export function createProgress (output: Pick<WriteStream, 'write' | 'isTTY'>, now: () => number) {
  let next = now() + (output.isTTY ? 0 : LINE_MS)
  let shown = false
  return { show, end }

  function show (what: string, done: number, total: number): void {
    if (now() < next) return
    next = now() + (output.isTTY ? PICTURE_MS : LINE_MS)
    const share = total > 0 ? Math.min(1, done / total) : 1
    const count = `${what}: ${done} of ${total}`
    if (!output.isTTY) {
      output.write(`${count} (${Math.floor(share * 100)} %)\n`)
      return
    }
    const full = Math.floor(share * BAR)
    output.write(`\r[${'#'.repeat(full)}${'.'.repeat(BAR - full)}] ${count}\u001b[K`)
    shown = true
  }

  function end (): void {
    if (shown) output.write('\r\u001b[K')
    shown = false
  }
}

export type Progress = ReturnType<typeof createProgress>
