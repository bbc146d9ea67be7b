import { damagedImage } from '../../errors.js'
import { createBounds } from './bounds.js'
import { move, pass, peek, type ParserState, type Parser } from './stream.js'

const HEADER_BYTES = 13
const IMAGE = 0x2c
const IMAGE_BYTES = 10
const EXTENSION = 0x21
const TRAILER = 0x3b
const GRAPHIC_CONTROL = 0xf9
const CONTROL_BYTES = 4
const COMMENT = 0xfe
const APPLICATION = 0xff
const APPLICATION_ID_BYTES = 11

/** Whether a data sub-block of this size stays. `before`: how many came before it. */
type Keeps = (size: number, before: number) => boolean

const all: Keeps = () => true
const none: Keeps = () => false
const control: Keeps = size => size === CONTROL_BYTES
/** The number of repetitions and the size of a buffer. More sub-blocks would leave room for other data. */
const loop: Keeps = (size, before) => before < 2 && (size === 3 || size === 5)

const KEPT_APPLICATIONS = new Map([['NETSCAPE2.0', loop], ['ANIMEXTS1.0', loop], ['ICCRGBG1012', all]])

/**
 * Turns every comment, plain text and application extension into a comment with the same sub-blocks, of zeros. A
 * comment is the only label that every decoder skips. Loop extensions and ICC profiles stay. Zeros between blocks are
 * allowed. After an image the trailer may be missing.
 */
export function * parseGif (state: ParserState): Parser {
  const bounds = createBounds()
  const header = yield peek(HEADER_BYTES)
  const version = header.toString('latin1', 0, 6)
  if (version !== 'GIF87a' && version !== 'GIF89a') throw damagedImage()
  bounds.canvas(header.readUInt16LE(6), header.readUInt16LE(8))
  yield pass(HEADER_BYTES + colorTableBytes(header[10]!))

  for (;;) {
    state.whole = state.frames > 0
    yield toBlock()
    const [introducer] = yield peek(1)
    state.whole = false
    if (introducer === IMAGE) yield * image()
    else if (introducer === EXTENSION) yield * extension()
    else if (introducer === TRAILER && state.frames > 0) break
    else throw damagedImage()
  }
  yield pass(1)

  function * image (): Parser {
    const descriptor = yield peek(IMAGE_BYTES)
    const [left, top, width, height] = [1, 3, 5, 7].map(at =>
      descriptor.readUInt16LE(at)) as [number, number, number, number]
    // an image without pixels still has its time
    const frames = bounds.frame(Math.max(1, width), Math.max(1, height), { left, top })
    yield pass(IMAGE_BYTES + colorTableBytes(descriptor[9]!) + 1)
    yield subBlocks(all)
    state.frames = frames
  }
}

function * extension (): Parser {
  let block = yield peek(3)
  let keeps = none
  let bytes = 2
  if (block[1] === GRAPHIC_CONTROL) {
    if (block[2] !== CONTROL_BYTES) throw damagedImage()
    keeps = control
  } else if (block[1] === APPLICATION && block[2] === APPLICATION_ID_BYTES) {
    block = yield peek(3 + APPLICATION_ID_BYTES)
    const known = KEPT_APPLICATIONS.get(block.toString('latin1', 3))
    if (known) [keeps, bytes] = [known, block.length]
  }
  if (keeps === none) block[1] = COMMENT
  yield pass(bytes)
  yield subBlocks(keeps)
}

/** Moves to the next block. Some encoders leave zeros before it. */
const toBlock = () => move((buffer, from) => {
  for (let at = from; at < buffer.length; at++) if (buffer[at] !== 0) return at
  return -1
})

/** Moves through the data sub-blocks, to the byte after their terminator (GIF89a §15 and §16). */
function subBlocks (keeps: Keeps) {
  let left = 0
  let before = 0
  let kept = true
  return move((buffer, from) => {
    for (let at = from; ;) {
      const stop = Math.min(at + left, buffer.length)
      if (!kept) buffer.fill(0, at, stop)
      left -= stop - at
      at = stop
      if (at === buffer.length) return -1
      left = buffer[at++]!
      if (left === 0) return at
      kept = keeps(left, before++)
    }
  })
}

const colorTableBytes = (flags: number) => (flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1)
