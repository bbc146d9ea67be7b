const EXTENSION = 0x21
const GRAPHIC_CONTROL = 0xF9
const IMAGE = 0x2C
/** The time of a frame that has none of its own. */
export const DEFAULT_MS = 100

/**
 * The time of each frame of a GIF in milliseconds, as the panel of the bag plays it: a frame without a delay takes
 * 100 ms. Browsers change other short delays too, so they are read from the file (GIF89a specification, sections 20
 * and 23).
 */
export function gifDelays (bytes: Uint8Array): number[] {
  const delays: number[] = []
  let at = 13 + colorTableBytes(bytes[10]!)
  let delay = DEFAULT_MS
  while (at < bytes.length) {
    if (bytes[at] === IMAGE) {
      delays.push(delay)
      delay = DEFAULT_MS
      at = afterBlocks(bytes, at + 11 + colorTableBytes(bytes[at + 9]!))
    } else if (bytes[at] === EXTENSION) {
      if (bytes[at + 1] === GRAPHIC_CONTROL) {
        delay = (bytes[at + 4]! | (bytes[at + 5]! << 8)) * 10 || DEFAULT_MS
      }
      at = afterBlocks(bytes, at + 2)
    } else break
  }
  return delays
}

const colorTableBytes = (flags: number) => (flags & 0x80) === 0 ? 0 : 3 << ((flags & 7) + 1)

/** The place after a chain of sub-blocks, which ends with an empty one. */
function afterBlocks (bytes: Uint8Array, at: number): number {
  while (at < bytes.length && bytes[at] !== 0) at += bytes[at]! + 1
  return at + 1
}
