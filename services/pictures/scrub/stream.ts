import { damagedImage } from '../../errors.js'

/** Reads a buffer from a position on, and may change it. Returns where to stop, or -1 to go on in the next buffer. */
type Scan = (buffer: Buffer, from: number) => number

/** The next request of a parser: this many bytes to look at, or a scan that moves on. */
type Step = number | Scan

/** Walks over a picture by its structure, step by step. Throws damagedImage(). Bytes after its end become zeros. */
export type Parser = Generator<Step, void, Buffer>

/** The state that a parser reports. */
export interface ParserState {
  frames: number
  /** Whether the picture may end here. */
  whole: boolean
  /** Whether all output waits, because bytes that were seen may still have to change. */
  holding: boolean
}

/**
 * Asks for the next bytes, which then wait. They may be changed until they are passed or the next step asks for more of
 * them.
 */
export const peek = (bytes: number): Step => bytes

/** Moves over this many bytes. */
export function pass (bytes: number): Step {
  return overwrite(bytes, () => {})
}

/** Moves over this many bytes and sets each to `value`. `seen` gets the result, piece by piece. */
export function fill (bytes: number, value: number, seen?: (piece: Buffer) => void): Step {
  return overwrite(bytes, (buffer, from, to) => {
    buffer.fill(value, from, to)
    seen?.(buffer.subarray(from, to))
  })
}

/** Moves on as far as `scan` says. */
export const move = (scan: Scan): Step => scan

function overwrite (bytes: number, write: (buffer: Buffer, from: number, to: number) => void): Scan {
  let left = bytes
  return (buffer, from) => {
    const to = Math.min(from + left, buffer.length)
    if (to > from) write(buffer, from, to)
    left -= to - from
    return left === 0 ? to : -1
  }
}

const NONE = Buffer.alloc(0)

/**
 * Runs a parser over a stream of bytes in chunks of any size. Copies only the bytes of a peek that spans several
 * chunks.
 */
export function createStream (parserOf: (state: ParserState) => Parser) {
  const state: ParserState = { frames: 0, whole: false, holding: false }
  const parser = parserOf(state)
  const passed: Buffer[] = []
  /** The buffer of a waiting peek, of which `gatheredBytes` are there. */
  let gathered: Buffer | undefined
  let gatheredBytes = 0
  let failure: unknown
  let step = advance(NONE)

  return { state, push, end }

  function push (chunk: Buffer): Buffer[] {
    if (failure) throw failure
    let rest = chunk
    while (rest.length > 0) {
      if (!gathered) {
        run(rest)
        break
      }
      const copied = rest.copy(gathered, gatheredBytes)
      gatheredBytes += copied
      rest = rest.subarray(copied)
      if (gatheredBytes === gathered.length) {
        const full = gathered
        gathered = undefined
        run(full)
      }
    }
    return state.holding ? [] : passed.splice(0)
  }

  function end (): Buffer[] {
    if (failure) throw failure
    if (step !== undefined && !state.whole) throw damagedImage()
    return passed.splice(0)
  }

  function run (buffer: Buffer): void {
    let at = 0
    while (at < buffer.length || typeof step === 'function') {
      if (step === undefined) {
        buffer.fill(0, at)
        at = buffer.length
      } else if (typeof step === 'number') {
        if (at + step > buffer.length) break
        step = advance(buffer.subarray(at, at + step))
      } else {
        const stop = step(buffer, at)
        at = stop < 0 ? buffer.length : stop
        if (stop < 0) break
        step = advance(NONE)
      }
    }
    if (at > 0) passed.push(at === buffer.length ? buffer : buffer.subarray(0, at))
    if (at < buffer.length) gather(buffer.subarray(at), step as number)
  }

  function gather (begun: Buffer, bytes: number): void {
    gathered = Buffer.allocUnsafe(bytes)
    gatheredBytes = begun.copy(gathered)
  }

  /** Remembers an error: a parser that has thrown must not look finished. */
  function advance (seen: Buffer): Step | undefined {
    try {
      const next = parser.next(seen)
      return next.done ? undefined : next.value
    } catch (error) {
      failure = error
      throw error
    }
  }
}
