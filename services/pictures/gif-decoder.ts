import type { Area } from './shrink-rows.js'

/** One image of a GIF (GIF89a §20), and the graphic control extension before it (§23). */
interface GifImage {
  left: number
  top: number
  width: number
  height: number
  interlaced: boolean
  /** Three bytes a colour. */
  palette: Uint8Array
  /** The index that draws nothing. */
  transparent?: number
  disposal: number
  delayMs: number
  /** Where the LZW data begin, with their minimum code size. */
  at: number
}

export interface ParsedGif {
  width: number
  height: number
  images: GifImage[]
}

const EXTENSION = 0x21
const IMAGE = 0x2c
const TRAILER = 0x3b
const GRAPHIC_CONTROL = 0xf9
const DISPOSE_TO_BACKGROUND = 2
const DISPOSE_TO_PREVIOUS = [3, 4] // some old encoders write 4, and browsers take it
/** For a picture without any colour table. */
const BLACK_AND_WHITE = Uint8Array.of(0, 0, 0, 255, 255, 255)
const MAX_CODES = 4096
const MAX_CODE_BITS = 12

/**
 * Reads the blocks of a GIF. Zeros between blocks are skipped, and the trailer may be missing. A first image that is
 * larger than the screen enlarges the screen, as in browsers. Throws if the file breaks off within a block or has an
 * unknown block.
 */
export function readGif (bytes: Buffer): ParsedGif {
  if (!/^GIF8[79]a/.test(bytes.toString('latin1', 0, 6)) || bytes.length < 13) throw new Error('no GIF')
  const gif: ParsedGif = { width: bytes.readUInt16LE(6), height: bytes.readUInt16LE(8), images: [] }
  const shared = colorTable(bytes, 13, bytes[10]!)
  let at = 13 + (shared?.length ?? 0)
  let control: Partial<GifImage> = {}
  for (; at < bytes.length && bytes[at] !== TRAILER;) {
    if (bytes[at] === IMAGE) {
      const image = readImage(bytes, at, shared, control)
      if (gif.images.push(image) === 1) enlarge(gif, image)
      control = {}
      at = afterSubBlocks(bytes, image.at + 1)
    } else if (bytes[at] === EXTENSION) {
      if (bytes[at + 1] === GRAPHIC_CONTROL) control = readControl(bytes, at)
      at = afterSubBlocks(bytes, at + 2)
    } else if (bytes[at] === 0) {
      at++
    } else {
      throw new Error('a block of the GIF is none')
    }
  }
  if (gif.images.length === 0) throw new Error('the GIF has no image')
  return gif
}

function readImage (bytes: Buffer, at: number, shared: Uint8Array | undefined, control: Partial<GifImage>): GifImage {
  if (at + 11 > bytes.length) throw breaksOff()
  const [left, top, width, height] = [1, 3, 5, 7].map(offset =>
    bytes.readUInt16LE(at + offset)) as [number, number, number, number]
  const flags = bytes[at + 9]!
  const own = colorTable(bytes, at + 10, flags)
  const palette = own ?? shared ?? BLACK_AND_WHITE
  return {
    left,
    top,
    width,
    height,
    interlaced: (flags & 0x40) !== 0,
    palette,
    disposal: 0,
    delayMs: 0,
    ...control,
    at: at + 10 + (own?.length ?? 0)
  }
}

function readControl (bytes: Buffer, at: number): Partial<GifImage> {
  if (at + 8 > bytes.length || bytes[at + 2] !== 4) throw breaksOff()
  const flags = bytes[at + 3]!
  return {
    disposal: flags >> 2 & 7,
    delayMs: bytes.readUInt16LE(at + 4) * 10,
    ...(flags & 1 && { transparent: bytes[at + 6] })
  }
}

function enlarge (gif: ParsedGif, { left, top, width, height }: GifImage): void {
  gif.width = Math.max(gif.width, left + width)
  gif.height = Math.max(gif.height, top + height)
}

function colorTable (bytes: Buffer, at: number, flags: number): Uint8Array | undefined {
  if ((flags & 0x80) === 0) return undefined
  const end = at + (6 << (flags & 7))
  if (end > bytes.length) throw breaksOff()
  return bytes.subarray(at, end)
}

function afterSubBlocks (bytes: Buffer, at: number): number {
  while (at < bytes.length) {
    const length = bytes[at]!
    at += 1 + length
    if (length === 0) return at
  }
  throw breaksOff()
}

const breaksOff = () => new Error('the GIF breaks off')

interface Drawn {
  /** Three bytes a pixel, black where it is transparent. The same array each time. */
  screen: Uint8Array
  /** Only these pixels differ from the last frame. */
  area: Area
}

/**
 * Yields the screen after each image. Read it before the next one. Images beyond the screen are cut off. Throws if the
 * data of an image end before its last pixel.
 */
export function * drawGif (bytes: Buffer, { width, height, images }: ParsedGif): Generator<Drawn> {
  const screen = new Uint8Array(width * height * 3)
  const strings = { starts: new Uint32Array(MAX_CODES), lengths: new Uint32Array(MAX_CODES) }
  let previous: Uint8Array | undefined
  let changed: Area = { left: 0, top: 0, right: width, bottom: height }
  for (const image of images) {
    const isTakenBack = DISPOSE_TO_PREVIOUS.includes(image.disposal)
    const area = areaOf(image, width, height)
    if (isTakenBack) (previous ??= new Uint8Array(screen.length)).set(screen)
    draw(image, unpack(bytes, image, strings), screen, width, height)
    yield { screen, area: union(changed, area) }
    changed = NOTHING
    if (image.disposal !== DISPOSE_TO_BACKGROUND && !isTakenBack) continue
    changed = area
    if (isTakenBack) screen.set(previous!)
    else clear(area, screen, width)
  }
}

const NOTHING: Area = { left: Infinity, top: Infinity, right: 0, bottom: 0 }

/** The part of an image that is on the screen. */
const areaOf = ({ left, top, width, height }: GifImage, screenWidth: number, screenHeight: number): Area => ({
  left: Math.min(left, screenWidth),
  top: Math.min(top, screenHeight),
  right: Math.min(left + width, screenWidth),
  bottom: Math.min(top + height, screenHeight)
})

const union = (a: Area, b: Area): Area => ({
  left: Math.min(a.left, b.left),
  top: Math.min(a.top, b.top),
  right: Math.max(a.right, b.right),
  bottom: Math.max(a.bottom, b.bottom)
})

function draw (
  { left, top, width, height, interlaced, palette, transparent }: GifImage,
  indices: Uint8Array,
  screen: Uint8Array,
  screenWidth: number,
  screenHeight: number
): void {
  const columns = Math.min(width, screenWidth - left)
  const colors = palette.length / 3
  for (let row = 0, y = 0, pass = 0; row < height; row++, y += ROW_STEPS[pass]!) {
    if (!interlaced) y = row
    else while (y >= height) y = ROW_STARTS[++pass]!
    if (top + y >= screenHeight) continue
    let to = ((top + y) * screenWidth + left) * 3
    for (let i = row * width, end = i + columns; i < end; i++, to += 3) {
      const index = indices[i]!
      if (index === transparent || index >= colors) continue
      screen[to] = palette[index * 3]!
      screen[to + 1] = palette[index * 3 + 1]!
      screen[to + 2] = palette[index * 3 + 2]!
    }
  }
}

/** Rows of the four passes of an interlaced image (GIF89a, appendix E). */
const ROW_STARTS = [0, 4, 2, 1]
const ROW_STEPS = [8, 8, 4, 2]

function clear ({ left, top, right, bottom }: Area, screen: Uint8Array, screenWidth: number): void {
  for (let y = top; y < bottom; y++) screen.fill(0, (y * screenWidth + left) * 3, (y * screenWidth + right) * 3)
}

/** Where the string of each code was drawn, and its length. Used anew for each image. */
interface Strings { starts: Uint32Array, lengths: Uint32Array }

/**
 * Decodes the indices of an image by variable-length-code LZW (GIF89a, appendix F). Ignores data after the last pixel.
 * The string of a code is that of the code before it and one more pixel. It is copied from where it first was drawn.
 */
function unpack (bytes: Buffer, { width, height, at }: GifImage, { starts, lengths }: Strings): Uint8Array {
  const pixels = new Uint8Array(width * height)
  const least = bytes[at]!
  if (pixels.length === 0) return pixels
  if (least < 1 || least >= MAX_CODE_BITS) throw new Error('the image of the GIF has no code size')
  const codes = joinSubBlocks(bytes, at + 1)
  const clear = 1 << least
  let next = clear + 2
  let bits = least + 1
  let before = -1
  let held = 0
  let heldBits = 0
  let done = 0
  for (let byte = 0; done < pixels.length;) {
    for (; heldBits < bits; heldBits += 8) {
      if (byte === codes.length) throw new Error('the data of an image of the GIF end early')
      held |= codes[byte++]! << heldBits
    }
    const code = held & (1 << bits) - 1
    held >>>= bits
    heldBits -= bits
    if (code === clear) {
      next = clear + 2
      bits = least + 1
      before = -1
      continue
    }
    if (code === clear + 1) throw new Error('the data of an image of the GIF end early')
    if (before >= 0 && next < MAX_CODES) {
      starts[next] = before
      lengths[next] = done - before + 1
      if (++next === 1 << bits && bits < MAX_CODE_BITS) bits++
    }
    if (code >= next || (before < 0 && code > clear)) {
      throw new Error('the data of an image of the GIF are damaged')
    }
    before = done
    if (code < clear) {
      pixels[done++] = code
    } else {
      const end = Math.min(done + lengths[code]!, pixels.length)
      for (let from = starts[code]!; done < end; from++, done++) pixels[done] = pixels[from]!
    }
  }
  return pixels
}

function joinSubBlocks (bytes: Buffer, at: number): Buffer {
  const blocks: Buffer[] = []
  for (let length = bytes[at]!; length > 0; at += 1 + length, length = bytes[at]!) {
    blocks.push(bytes.subarray(at + 1, at + 1 + length))
  }
  return Buffer.concat(blocks)
}
