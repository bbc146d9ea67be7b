const EXTENSION = 0x21
const IMAGE = 0x2c
const TRAILER = 0x3b

/**
 * How many images a GIF has by its blocks (GIF89a, 23 and 24), and where they end; undefined when it breaks off within one.
 * That the trailer alone is missing, or something follows it, is no fault.
 */
export function readGifBlocks (bytes: Buffer): { images: number, end: number } | undefined {
  let images = 0
  let at = afterTable(13, bytes[10])
  while (at < bytes.length && bytes[at] !== TRAILER) {
    const kind = bytes[at]
    if (kind === EXTENSION) {
      at = afterSubBlocks(bytes, at + 2)
    } else if (kind === IMAGE) {
      at = afterSubBlocks(bytes, afterTable(at + 10, bytes[at + 9]) + 1)
      images++
    } else {
      return images > 0 && kind === 0 ? { images, end: at } : undefined
    }
  }
  return at <= bytes.length ? { images, end: at } : undefined
}

/** The GIF, when it is one, up to the last of its blocks and a trailer: libnsgif stumbles over what follows. */
export function withoutTail (bytes: Buffer): Buffer {
  const end = bytes.toString('latin1', 0, 3) === 'GIF' ? readGifBlocks(bytes)?.end ?? bytes.length : bytes.length
  return end + 1 < bytes.length ? Buffer.concat([bytes.subarray(0, end), Buffer.of(TRAILER)]) : bytes
}

/** What the header of a GIF says. */
export const gifScreen = (bytes: Buffer) => ({ width: bytes.readUInt16LE(6), height: bytes.readUInt16LE(8) })

/** The GIF with one more frame before its first, which is as large as the screen and draws nothing. */
export function withOpeningFrame (bytes: Buffer): Buffer {
  const start = afterTable(13, bytes[10])
  const transparent = Buffer.of(EXTENSION, 0xf9, 4, 0x05, 0, 0, 0, 0)
  const image = Buffer.of(IMAGE, 0, 0, 0, 0, ...bytes.subarray(6, 10), 0)
  const onePixel = Buffer.of(2, 2, 0x44, 0x01, 0)
  return Buffer.concat([bytes.subarray(0, start), transparent, image, onePixel, bytes.subarray(start)])
}

const afterTable = (at: number, packed = 0) => at + (packed & 0x80 ? 6 << (packed & 7) : 0)

/** Infinity when they do not end. */
function afterSubBlocks (bytes: Buffer, at: number): number {
  while (at < bytes.length) {
    const length = bytes[at]!
    at += 1 + length
    if (length === 0) return at
  }
  return Infinity
}
