import { crc32, deflateSync } from 'node:zlib'
import type { Frames } from './fit-frames.js'
import { chosenColors, histogramOf } from './palette.js'

const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')
const TRUE_COLOR = 2
const INDEXED = 3
/** Colours to try where the exact ones do not fit. */
const FEWER_COLORS = [256, 128, 64, 32, 16, 8, 4, 2]

/**
 * Makes a PNG of one picture: with its exact colours, or with as many as fit into `maxBytes`. If not even two colours
 * fit, that is returned.
 */
export function makeStill ({ width, height, data }: Frames, maxBytes: number): Buffer {
  const exact = writePng(width, height, TRUE_COLOR, data)
  if (exact.length <= maxBytes) return exact
  const histogram = histogramOf(data)
  let made = exact
  for (const max of FEWER_COLORS) {
    const { colors, indicesOf } = chosenColors(histogram, max)
    made = writePng(width, height, INDEXED, indicesOf(data), colors)
    if (made.length <= maxBytes) break
  }
  return made
}

/** Writes a PNG of eight bits a sample without filters (PNG, third edition, §5 and §11). */
function writePng (width: number, height: number, colorType: number, samples: Uint8Array, colors?: Uint8Array): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width)
  header.writeUInt32BE(height, 4)
  header.set([8, colorType], 8)
  const row = samples.length / height
  const filtered = Buffer.alloc(samples.length + height)
  for (let y = 0; y < height; y++) filtered.set(samples.subarray(y * row, (y + 1) * row), y * (row + 1) + 1)
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    ...(colors ? [chunk('PLTE', colors)] : []),
    chunk('IDAT', deflateSync(filtered)),
    chunk('IEND', Buffer.alloc(0))
  ])
}

function chunk (type: string, data: Uint8Array): Buffer {
  const block = Buffer.alloc(data.length + 12)
  block.writeUInt32BE(data.length)
  block.write(type, 4, 'latin1')
  block.set(data, 8)
  block.writeUInt32BE(crc32(block.subarray(4, -4)), data.length + 8)
  return block
}
