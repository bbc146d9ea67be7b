const CAPACITY = 128 * 1024
const MAX_DELAY_MS = 200
/** Of a UTF-16 code unit. */
const MAX_UTF8_BYTES = 3

/**
 * Collects log lines and writes many at a time, MAX_DELAY_MS late at most: a write of a file costs nearly as much as a
 * small request. Writes the rest when the process exits; a process that is killed loses it. A line is encoded at once:
 * until then V8 keeps it as many small strings. pino's own buffer is not used: at the exit it waits for ever for an
 * output whose reader has gone (sonic-boom 4, `flushSync`).
 */
export function bufferedOutput (output: Pick<NodeJS.WritableStream, 'write'>): { write: (line: string) => void } {
  const buffer = Buffer.allocUnsafe(CAPACITY)
  let length = 0
  const flush = () => {
    // a copy, because a pipe may take it later
    if (length > 0) output.write(Buffer.from(buffer.subarray(0, length)))
    length = 0
  }
  setInterval(flush, MAX_DELAY_MS).unref()
  process.once('exit', flush)
  return {
    write (line) {
      const longest = line.length * MAX_UTF8_BYTES
      if (length + longest > CAPACITY) flush()
      if (longest > CAPACITY) output.write(line)
      else length += buffer.write(line, length)
    }
  }
}
