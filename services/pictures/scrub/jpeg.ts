import { damagedImage } from '../../errors.js'
import { createBounds } from './bounds.js'
import { hasPrefix, PREFIX_BYTES, readOrientation, reduceExif } from './orientation.js'
import { fill, move, pass, peek, type ParserState, type Parser } from './stream.js'

const SOI = 0xd8
const EOI = 0xd9
const SOS = 0xda
const DQT = 0xdb
const DRI = 0xdd
const DHT = 0xc4
const DNL = 0xdc
const TEM = 0x01
const COM = 0xfe
const APP0 = 0xe0
const APP1 = 0xe1
const APP2 = 0xe2
const APP14 = 0xee
const APP15 = 0xef
const BASELINE = 0xc0
const PROGRESSIVE = 0xc2
const FILL = 0xff

/** From a marker's code to its parameters. */
const HEADER_BYTES = 3
/** Each scan is decoded over the whole picture, however few bytes it has. Encoders make some ten. */
const MAX_SCANS = 100
const JFIF_BYTES = 14
const ADOBE_BYTES = 12

type Part<T> = Generator<ReturnType<typeof peek>, T, Buffer>

/**
 * Turns every application segment and comment into a comment of zeros: every reader skips one, and not all skip fill
 * bytes. JFIF stays (without its thumbnail), and so do ICC profiles, Adobe's colour transform, and the orientation of
 * the first Exif that has one. Tables and headers must fill their own lengths, so that none has room for other data.
 * Takes only Huffman-coded pictures, sequential or progressive.
 */
export function * parseJpeg (state: ParserState): Parser {
  const bounds = createBounds()
  let oriented = false
  let scans = 0
  let isProgressive = false
  /**
   * Components of the frame that no scan has begun. Some are left if a file was cut off between scans and closed again.
   */
  const unseen = new Set<number>()

  const start = yield peek(2)
  if (start[0] !== FILL || start[1] !== SOI) throw damagedImage()
  yield pass(2)
  let code = yield * nextMarker()
  while (code !== EOI) {
    if (isAlone(code)) yield pass(1)
    else yield * segment(code, (yield peek(HEADER_BYTES)).readUInt16BE(1))
    code = code === SOS ? yield * nextMarkerOfScan() : yield * nextMarker()
  }
  if (scans === 0 || unseen.size > 0) throw damagedImage()
  yield pass(1)

  function * segment (code: number, length: number): Parser {
    const isApplication = code >= APP0 && code <= APP15
    // an empty one, by a writer that does not count the length field
    if (length < 2 && (isApplication || code === COM)) yield pass(HEADER_BYTES)
    else if (isApplication) yield * application(code, length)
    else if (code === COM) yield * blank(length)
    else yield * coding(code, length)
  }

  function * application (code: number, length: number): Parser {
    const segment = yield peek(1 + Math.min(length, 2 + JFIF_BYTES))
    const parameters = segment.subarray(HEADER_BYTES)
    if (code === APP0 && parameters.length === JFIF_BYTES && startsWith(parameters, 'JFIF\0')) {
      yield * keepStart(length, JFIF_BYTES - 2)
    } else if (code === APP14 && parameters.length >= ADOBE_BYTES && startsWith(parameters, 'Adobe')) {
      yield * keepStart(length, ADOBE_BYTES)
    } else if (code === APP2 && startsWith(parameters, 'ICC_PROFILE\0')) {
      yield pass(1 + length)
    } else if (code === APP1 &&
      hasPrefix(parameters) &&
      !oriented &&
      scans === 0) { // decoders look for it before the pixels
      yield * exif(length)
    } else {
      yield * blank(length)
    }
  }

  function * exif (length: number): Parser {
    const segment = yield peek(1 + length)
    const tiff = segment.subarray(HEADER_BYTES + PREFIX_BYTES)
    const orientation = readOrientation(tiff)
    oriented = orientation !== undefined
    if (!reduceExif(tiff, orientation)) {
      segment[0] = COM
      segment.fill(0, HEADER_BYTES)
    }
    yield pass(segment.length)
  }

  function * coding (code: number, length: number): Parser {
    const parameters = (yield peek(1 + length)).subarray(HEADER_BYTES)
    if (!isWellFormed(code, parameters)) throw damagedImage()
    if (isFrame(code)) {
      bounds.frame(parameters.readUInt16BE(3), parameters.readUInt16BE(1), { inPasses: code === PROGRESSIVE })
      state.frames = 1
      isProgressive = code === PROGRESSIVE
      for (let i = 0; i < parameters[5]!; i++) unseen.add(parameters[6 + 3 * i]!)
    }
    if (code === SOS) {
      if (state.frames === 0) throw damagedImage()
      if (++scans > MAX_SCANS) throw damagedImage()
      const components = parameters[0]!
      const hasFirstCoefficients = !isProgressive || parameters[1 + 2 * components] === 0
      for (let i = 0; i < components; i++) if (hasFirstCoefficients) unseen.delete(parameters[1 + 2 * i]!)
    }
    yield pass(1 + length)
  }
}

/**
 * Moves up to the code of the next marker, and returns it. Stray bytes before the marker, which decoders skip, become
 * zeros.
 */
function * nextMarker (): Part<number> {
  let prefixed = false
  yield move((buffer, from) => {
    for (let at = from; at < buffer.length; at++) {
      if (buffer[at] === FILL) {
        prefixed = true
        continue
      }
      if (prefixed && buffer[at] !== 0) return at
      prefixed = false
      buffer[at] = 0
    }
    return -1
  })
  return (yield peek(1))[0]!
}

/**
 * Does the same at the end of entropy-coded data, in which 0xFF is followed by a zero, a restart marker or fill (T.81
 * §B.1.1.5).
 */
function * nextMarkerOfScan (): Part<number> {
  let escaped = false
  yield move((buffer, from) => {
    for (let at = from; ; at++) {
      if (!escaped) {
        if (buffer[at] !== FILL) at = buffer.indexOf(FILL, at)
        if (at < 0) return -1
        escaped = true
        at++
      }
      if (at >= buffer.length) return -1
      const code = buffer[at]!
      if (code === FILL) continue
      if (code !== 0 && !isRestart(code)) return at
      escaped = false
    }
  })
  return (yield peek(1))[0]!
}

function * blank (length: number): Parser {
  const header = yield peek(HEADER_BYTES)
  header[0] = COM
  yield * keepStart(length, 0)
}

/** This many bytes of the parameters stay. The others become zeros. */
function * keepStart (length: number, bytes: number): Parser {
  yield pass(HEADER_BYTES + bytes)
  yield fill(length - 2 - bytes, 0)
}

function isWellFormed (code: number, parameters: Buffer): boolean {
  if (isFrame(code)) return parameters.length >= 9 && parameters.length === 6 + 3 * parameters[5]!
  switch (code) {
    case SOS: return parameters.length >= 6 && parameters.length === 4 + 2 * parameters[0]!
    case DQT: return isFilledBy(parameters, quantizationTable)
    case DHT: return isFilledBy(parameters, huffmanTable)
    case DRI:
    case DNL: return parameters.length === 2
    default: return false
  }
}

/** Whether a segment consists of whole tables. `bytesOf` is the length of the one at a position. */
function isFilledBy (parameters: Buffer, bytesOf: (parameters: Buffer, at: number) => number): boolean {
  let at = 0
  while (at < parameters.length) at += bytesOf(parameters, at)
  return at === parameters.length
}

function quantizationTable (parameters: Buffer, at: number): number {
  const precision = parameters[at]! >> 4
  return precision > 1 ? Infinity : 1 + 64 * (1 + precision)
}

function huffmanTable (parameters: Buffer, at: number): number {
  const codes = parameters.subarray(at + 1, at + 17).reduce((sum, count) => sum + count, 0)
  return codes > 256 ? Infinity : 17 + codes
}

const isFrame = (code: number) => code >= BASELINE && code <= PROGRESSIVE
/** Whether a marker has no length and parameters. */
const isAlone = (code: number) => code === TEM || isRestart(code)
const isRestart = (code: number) => code >= 0xd0 && code <= 0xd7
const startsWith = (bytes: Buffer, text: string) => bytes.toString('latin1', 0, text.length) === text
