import { damagedImage } from '../../errors.js'
import { createBounds } from './bounds.js'
import { EXIF_BYTES, readOrientation, reduceExif } from './orientation.js'
import { fill, pass, peek, type ParserState, type Parser } from './stream.js'

const RIFF_BYTES = 12
const HEADER_BYTES = 8
const FRAME_HEADER_BYTES = 16
const FLAGS = HEADER_BYTES
const HAS_EXIF = 0x08
const HAS_XMP = 0x04

/** The chunks that define the pixels, with the fewest and the most bytes of each (RFC 9649 §2). */
const KEPT = new Map(Object.entries<[min: number, max: number]>({
  VP8X: [10, 10],
  'VP8 ': [10, Infinity],
  VP8L: [5, Infinity],
  ALPH: [0, Infinity],
  ICCP: [0, Infinity],
  ANIM: [6, 6],
  ANMF: [FRAME_HEADER_BYTES, Infinity]
}))
const KEPT_IN_FRAMES = ['VP8 ', 'VP8L', 'ALPH']

/**
 * Renames EXIF, XMP and unknown chunks, fills them with zeros, and clears the flags that announce them. The orientation
 * of the first EXIF stays (RFC 9649 §2.7). Its flag comes long before it, so a picture that announces EXIF is held back
 * until that has come.
 */
export function * parseWebp (state: ParserState): Parser {
  const bounds = createBounds()
  /** The extended header, while its EXIF flag may still have to be cleared. */
  let announcement: Buffer | undefined

  const riff = yield peek(RIFF_BYTES + HEADER_BYTES)
  const first = typeOf(riff.subarray(RIFF_BYTES))
  if (typeOf(riff) !== 'RIFF' ||
    riff.toString('latin1', 8, RIFF_BYTES) !== 'WEBP' ||
    (first !== 'VP8X' && !isImage(first))) {
    throw damagedImage()
  }
  const bytes = riff.readUInt32LE(4) - (RIFF_BYTES - HEADER_BYTES)
  yield pass(RIFF_BYTES)
  yield * chunks(bytes, chunk)
  if (state.frames === 0) throw damagedImage()
  settle(false)

  function * chunk (type: string, length: number): Parser {
    if (type === 'VP8X') yield * extendedHeader()
    else if (type === 'EXIF' && announcement) yield * exif(length)
    else if (type === 'ANMF') yield * frame(length)
    else if (isImage(type)) yield * image(type, length)
    else if (KEPT.has(type)) yield pass(HEADER_BYTES + length)
    else yield * blank(length)
  }

  function * extendedHeader (): Parser {
    const header = yield peek(HEADER_BYTES + 10)
    if (announcement || state.frames > 0) throw damagedImage()
    bounds.canvas(1 + header.readUIntLE(12, 3), 1 + header.readUIntLE(15, 3))
    header[FLAGS]! &= ~HAS_XMP
    if (header[FLAGS]! & HAS_EXIF) {
      announcement = header
      state.holding = true
    }
    yield pass(header.length)
  }

  function * image (type: string, length: number): Parser {
    const { width, height } = sizeOf(type, yield peek(HEADER_BYTES + KEPT.get(type)![0]))
    if (state.frames > 0) throw damagedImage()
    state.frames = bounds.frame(width, height)
    yield pass(HEADER_BYTES + length)
  }

  function * frame (length: number): Parser {
    const header = (yield peek(HEADER_BYTES + FRAME_HEADER_BYTES)).subarray(HEADER_BYTES)
    const [left, top, width, height] = [0, 3, 6, 9].map(at =>
      header.readUIntLE(at, 3)) as [number, number, number, number]
    state.frames = bounds.frame(width + 1, height + 1, { left: left * 2, top: top * 2 })
    yield pass(HEADER_BYTES + FRAME_HEADER_BYTES)
    yield * chunks(length - FRAME_HEADER_BYTES, chunkOfFrame)
  }

  function * chunkOfFrame (type: string, length: number): Parser {
    if (isImage(type)) {
      const { width, height } = sizeOf(type, yield peek(HEADER_BYTES + KEPT.get(type)![0]))
      bounds.canvas(width, height)
    }
    if (KEPT_IN_FRAMES.includes(type)) yield pass(HEADER_BYTES + length)
    else yield * blank(length)
  }

  function * exif (length: number): Parser {
    const seen = yield peek(HEADER_BYTES + Math.min(length, EXIF_BYTES))
    const payload = seen.subarray(HEADER_BYTES)
    const kept = reduceExif(payload, readOrientation(payload))
    settle(kept)
    if (!kept) return yield * blank(length)
    yield pass(seen.length)
    yield fill(HEADER_BYTES + length - seen.length, 0)
  }

  function settle (hasExif: boolean): void {
    if (!hasExif && announcement) announcement[FLAGS]! &= ~HAS_EXIF
    announcement = undefined
    state.holding = false
  }
}

/** Moves through chunks that fill this many bytes. `visit` has to move over header and data of each. */
function * chunks (bytes: number, visit: (type: string, length: number) => Parser): Parser {
  let left = bytes
  while (left >= HEADER_BYTES) {
    const header = yield peek(HEADER_BYTES)
    const type = typeOf(header)
    const length = header.readUInt32LE(4)
    const [min, max] = KEPT.get(type) ?? [0, Infinity]
    left -= HEADER_BYTES + length
    if (left < 0 || length < min || length > max) throw damagedImage()
    yield * visit(type, length)
    const padding = Math.min(length % 2, left)
    yield fill(padding, 0)
    left -= padding
  }
  yield fill(left, 0)
}

function * blank (length: number): Parser {
  const header = yield peek(HEADER_BYTES)
  header.write('voId', 'latin1')
  yield pass(HEADER_BYTES)
  yield fill(length, 0)
}

/** The size in the first bytes of VP8 (RFC 6386 §9.1) and VP8L (RFC 9649 §3.4). */
function sizeOf (type: string, chunk: Buffer): { width: number, height: number } {
  const data = chunk.subarray(HEADER_BYTES)
  if (type === 'VP8L') {
    if (data[0] !== 0x2f) throw damagedImage()
    const bits = data.readUInt32LE(1)
    return { width: (bits & 0x3fff) + 1, height: (bits >> 14 & 0x3fff) + 1 }
  }
  if ((data[0]! & 1) !== 0 || data.readUIntBE(3, 3) !== 0x9d012a) throw damagedImage()
  return { width: data.readUInt16LE(6) & 0x3fff, height: data.readUInt16LE(8) & 0x3fff }
}

const typeOf = (header: Buffer) => header.toString('latin1', 0, 4)
const isImage = (type: string) => type === 'VP8 ' || type === 'VP8L'
