import { crc32 } from 'node:zlib'
import { damagedImage } from '../../errors.js'
import { createBounds } from './bounds.js'
import { EXIF_BYTES, readOrientation, reduceExif } from './orientation.js'
import { fill, pass, peek, type ParserState, type Parser } from './stream.js'

const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')
/** Bytes of length and type, and of the CRC after the data. */
const FRAME_BYTES = 12
const HEADER_BYTES = 8
const MAX_CHUNK_BYTES = 2 ** 31 - 1

/** The chunks that define the pixels (PNG, Third Edition, §11), and the most bytes of each. */
const KEPT = new Map([
  ['PLTE', 768], ['IDAT', MAX_CHUNK_BYTES], ['IEND', 0],
  ['tRNS', 256],
  ['cHRM', 32],
  ['gAMA', 4],
  ['iCCP', MAX_CHUNK_BYTES],
  ['sBIT', 4],
  ['sRGB', 1],
  ['bKGD', 6],
  ['hIST', 512],
  ['pHYs', 9],
  ['sPLT', MAX_CHUNK_BYTES],
  ['cICP', 4],
  ['mDCV', 24],
  ['cLLI', 8],
  ['acTL', 8], ['fcTL', 26], ['fdAT', MAX_CHUNK_BYTES]
])

/**
 * Turns every other ancillary chunk into `voId`, a private one of zeros. The orientation of the first `eXIf` before the
 * pixels stays. Few decoders see a later one (§5.6), and all must agree. A wrong CRC stays wrong, for the decoder to
 * judge.
 */
export function * parsePng (state: ParserState): Parser {
  const bounds = createBounds()
  const start = yield peek(SIGNATURE.length + HEADER_BYTES + 13)
  const header = start.subarray(SIGNATURE.length)
  if (start.indexOf(SIGNATURE) !== 0 || header.readUInt32BE(0) !== 13 || typeOf(header) !== 'IHDR') throw damagedImage()
  bounds.frame(header.readUInt32BE(8), header.readUInt32BE(12), { inPasses: header[20] !== 0 })
  state.frames = 1
  yield pass(start.length + 4)

  let pixels = false
  let animationFrames = 0
  let oriented = false
  for (;;) {
    const chunk = yield peek(HEADER_BYTES)
    const length = chunk.readUInt32BE(0)
    const type = typeOf(chunk)
    if (length > MAX_CHUNK_BYTES || !/^[A-Za-z]{4}$/.test(type)) throw damagedImage()
    const kept = length <= (KEPT.get(type) ?? -1)

    if (type === 'IEND') {
      if (!kept || !pixels) throw damagedImage()
      yield pass(FRAME_BYTES)
      return
    }
    if (kept) {
      if (type === 'IDAT') pixels = true
      if (type === 'fcTL' && animationFrames++ > 0) countFrame(yield peek(HEADER_BYTES + length))
      yield pass(FRAME_BYTES + length)
    } else if (isCritical(type)) {
      throw damagedImage()
    } else if (type === 'eXIf' && !oriented && !pixels) {
      yield * exif(length)
    } else {
      yield * blank(length)
    }
  }

  function * exif (length: number): Parser {
    const chunk = yield peek(HEADER_BYTES + Math.min(length, EXIF_BYTES))
    const payload = chunk.subarray(HEADER_BYTES)
    const orientation = readOrientation(payload)
    oriented = orientation !== undefined
    if (reduceExif(payload, orientation)) yield * rewrite(chunk, length)
    else yield * blank(length)
  }

  /** The first frame of an animation stands for the default image, which has been counted (§11.3.6.2). */
  function countFrame (control: Buffer): void {
    if (control.length < HEADER_BYTES + 26) throw damagedImage()
    bounds.frame(control.readUInt32BE(12), control.readUInt32BE(16), {
      left: control.readUInt32BE(20),
      top: control.readUInt32BE(24)
    })
  }
}

function * blank (length: number): Parser {
  const header = yield peek(HEADER_BYTES)
  header.write('voId', 4, 'latin1')
  yield * rewrite(header, length)
}

/** Passes the chunk on as its peeked bytes, filled up with zeros, and a correct CRC. */
function * rewrite (seen: Buffer, length: number): Parser {
  let crc = crc32(seen.subarray(4))
  yield pass(seen.length)
  yield fill(HEADER_BYTES + length - seen.length, 0, piece => { crc = crc32(piece, crc) })
  const checksum = yield peek(4)
  checksum.writeUInt32BE(crc)
  yield pass(4)
}

const typeOf = (header: Buffer) => header.toString('latin1', 4, 8)

/** Upper-case start (§5.4). */
const isCritical = (type: string) => type.charAt(0) < 'a'
