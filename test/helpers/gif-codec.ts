/**
 * A GIF writer that obeys its options, and a reader that shares no code with the service. A test thus reads a rendition
 * from its bytes.
 */

export type Color = [number, number, number]

export interface HandFrame {
  left?: number
  top?: number
  width?: number
  height?: number
  /** The palette index of the pixel at (x, y) of the frame. */
  index: (x: number, y: number) => number
  delayCs?: number
  disposal?: 0 | 1 | 2 | 3
  transparent?: number
  /** Draws this many pixels fewer than the frame has. */
  missing?: number
  /** Default: true. */
  endCode?: boolean
}

export interface HandGif {
  width: number
  height: number
  palette: Color[]
  netscape?: number
  frames: HandFrame[]
  trailer?: boolean
}

/** Writes each pixel as an LZW code of its own. */
export function handGif ({ width, height, palette, netscape, frames, trailer = true }: HandGif): Buffer {
  const bits = Math.max(2, Math.ceil(Math.log2(palette.length)))
  const table = Buffer.alloc(3 << bits)
  table.set(palette.flat())
  const parts: Buffer[] = [Buffer.from('GIF89a'), u16(width, height), Buffer.of(0x80 | (bits - 1), 0, 0), table]
  if (netscape !== undefined) {
    parts.push(Buffer.from('\x21\xff\x0bNETSCAPE2.0\x03\x01', 'latin1'), u16(netscape), Buffer.of(0))
  }
  for (const {
    left = 0,
    top = 0,
    width: w = width,
    height: h = height,
    index,
    delayCs = 10,
    disposal = 0,
    transparent,
    missing = 0,
    endCode = true
  } of frames) {
    parts.push(
      Buffer.of(0x21, 0xf9, 4, disposal << 2 | (transparent === undefined ? 0 : 1)),
      u16(delayCs),
      Buffer.of(transparent ?? 0, 0)
    )
    const pixels = Uint8Array.from({ length: w * h - missing }, (_, i) => index(i % w, Math.floor(i / w)))
    parts.push(
      Buffer.of(0x2c),
      u16(left, top, w, h),
      Buffer.of(0, bits),
      literalCodes(pixels, bits, endCode)
    )
  }
  return Buffer.concat([...parts, ...(trailer ? [Buffer.of(0x3b)] : [])])
}

function literalCodes (pixels: Uint8Array, bits: number, endCode: boolean): Buffer {
  const clear = 1 << bits
  const bytes = Buffer.alloc(Math.ceil((pixels.length * 2 + 2) * (bits + 1) / 8))
  let length = 0
  let held = 0
  let heldBits = 0
  const put = (code: number) => {
    held |= code << heldBits
    for (heldBits += bits + 1; heldBits >= 8; heldBits -= 8, held >>= 8) bytes[length++] = held & 0xff
  }
  for (const [i, pixel] of pixels.entries()) {
    if (i % (clear - 2) === 0) put(clear)
    put(pixel)
  }
  if (endCode) put(clear + 1)
  if (heldBits > 0) bytes[length++] = held & 0xff
  const blocks: Buffer[] = []
  for (let i = 0; i < length; i += 255) {
    const size = Math.min(255, length - i)
    blocks.push(Buffer.of(size), bytes.subarray(i, i + size))
  }
  return Buffer.concat([...blocks, Buffer.of(0)])
}

const u16 = (...values: number[]) => {
  const buffer = Buffer.alloc(values.length * 2)
  values.forEach((value, i) => buffer.writeUInt16LE(value, i * 2))
  return buffer
}

export interface ReadGif {
  width: number
  height: number
  /** The number in the Netscape extension; undefined without one. */
  netscape?: number
  delaysCs: number[]
  /** The visible picture of each frame, three bytes a pixel. */
  screens: Buffer[]
}

/**
 * Reads a GIF. Pixels that no frame draws are magenta. Throws on anything that GIF89a does not have, and on bytes after
 * the trailer.
 */
export function readGif (bytes: Buffer): ReadGif {
  let at = 0
  const take = (count: number) => {
    if (at + count > bytes.length) throw new Error('the GIF breaks off')
    at += count
    return bytes.subarray(at - count, at)
  }
  const takeBlocks = () => {
    const blocks: Buffer[] = []
    for (let length = take(1)[0]!; length > 0; length = take(1)[0]!) blocks.push(take(length))
    return Buffer.concat(blocks)
  }
  const takeTable = (packed: number) => packed & 0x80 ? take(6 << (packed & 7)) : undefined
  if (take(6).toString() !== 'GIF89a') throw new Error('no GIF89a')
  const width = take(2).readUInt16LE()
  const height = take(2).readUInt16LE()
  const shared = takeTable(take(3)[0]!)
  const gif: ReadGif = { width, height, delaysCs: [], screens: [] }
  let screen = Buffer.from(Buffer.alloc(width * height * 3).map((_, i) => i % 3 === 1 ? 0 : 255))
  let control = Buffer.alloc(4)
  for (;;) {
    const kind = take(1)[0]
    if (kind === 0x3b) break
    if (kind === 0x21) {
      const label = take(1)[0]
      const content = takeBlocks()
      if (label === 0xf9) control = Buffer.from(content)
      else if (label === 0xff &&
        content.subarray(0, 11).toString() === 'NETSCAPE2.0') gif.netscape = content.readUInt16LE(12)
      else throw new Error(`an extension ${label}`)
      continue
    }
    if (kind !== 0x2c) throw new Error(`a block ${kind}`)
    const [left, top, w, h] = [0, 1, 2, 3].map(() => take(2).readUInt16LE()) as [number, number, number, number]
    if (w === 0 || h === 0 || left + w > width || top + h > height) throw new Error('a frame beyond the screen')
    const table = takeTable(take(1)[0]!) ?? shared!
    const pixels = unpack(take(1)[0]!, takeBlocks())
    if (pixels.length !== w * h) throw new Error(`${pixels.length} pixels in a frame of ${w}×${h}`)
    if (control[0]! >> 2 !== 1) throw new Error('a frame that does not stay')
    screen = Buffer.from(screen)
    for (const [i, index] of pixels.entries()) {
      if (control[0]! & 1 && index === control[3]) continue
      if (index * 3 >= table.length) throw new Error('an index without a colour')
      table.copy(screen, ((top + Math.floor(i / w)) * width + left + i % w) * 3, index * 3, index * 3 + 3)
    }
    gif.delaysCs.push(control.readUInt16LE(1))
    gif.screens.push(screen)
  }
  if (at !== bytes.length) throw new Error('something after the trailer')
  return gif
}

function unpack (least: number, codes: Buffer): number[] {
  const clear = 1 << least
  const out: number[] = []
  let strings: number[][] = []
  let size = least + 1
  let before: number[] | undefined
  for (let at = 0; at + size <= codes.length * 8; at += 0) {
    let code = 0
    for (let i = 0; i < size; i++, at++) code |= (codes[at >> 3]! >> (at & 7) & 1) << i
    if (code === clear) {
      strings = Array.from({ length: clear + 2 }, (_, i) => [i])
      size = least + 1
      before = undefined
      continue
    }
    if (code === clear + 1) return out
    const string: number[] = strings[code] ?? [...before!, before![0]!]
    if (code > strings.length) throw new Error('a code before its time')
    for (const index of string) out.push(index)
    if (before && strings.length < 4096) strings.push([...before, string[0]!])
    if (strings.length === 1 << size && size < 12) size++
    before = string
  }
  throw new Error('codes without an end')
}
