import { PNG } from 'pngjs'
import { readGif, type ReadGif } from './gif-codec.js'

/** Chunks that a PNG needs (PNG, third edition, §5.6). */
const NEEDED = new Set(['IHDR', 'PLTE', 'IDAT', 'IEND'])

/** Reads a rendition: a GIF, or a PNG as one screen without a delay. Throws if a PNG tells anything but its pixels. */
export function readRendition (bytes: Buffer): ReadGif {
  if (bytes.toString('latin1', 1, 4) !== 'PNG') return readGif(bytes)
  for (let at = 8; at < bytes.length; at += 12 + bytes.readUInt32BE(at)) {
    const type = bytes.toString('latin1', at + 4, at + 8)
    if (!NEEDED.has(type)) throw new Error(`a chunk ${type}`)
  }
  const { width, height, data } = PNG.sync.read(bytes)
  return { width, height, delaysCs: [0], screens: [Buffer.from(data.filter((_, i) => i % 4 < 3))] }
}
