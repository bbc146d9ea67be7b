import type { Area } from './shrink-rows.js'

/** `colors` are RGB triples: at most 256, or 255 in an animation, where one index means "as before". */
export interface GifFrame { indices: Uint8Array, colors: Uint8Array, delayCs: number }

export interface GifContent { width: number, height: number, frames: GifFrame[] }

export interface GifOptions {
  /** A distance in RGB, 0 to 441. */
  tolerance: number
  /** Whether each frame is encoded as a difference and whole, and the smaller is taken. This takes twice as long. */
  thorough?: boolean
  /** Gets the screen after each frame. */
  onFrame?: (screen: Uint8Array, frame: number) => void
}

/** The codes of a frame, and the index that leaves pixels as they were. */
interface Drawn { data: Buffer, transparent?: number }

const TRAILER = 0x3b
const MAX_CODE = 12
/** The hash table is at most half full. */
const HASH_BITS = MAX_CODE + 1
const HASH_SIZE = 1 << HASH_BITS
/** Marks a used slot. */
const USED = 1 << 30

/**
 * Writes a GIF89a that loops for ever, each frame drawn over the one before. A pixel is left out if it differs by no
 * more than `tolerance` from the shown one, or takes another colour that near if that costs fewer bytes. A frame stays
 * even if nothing changes.
 */
export function writeGif ({ width, height, frames }: GifContent, options: GifOptions): Buffer {
  const { tolerance, thorough = false, onFrame } = options
  const animated = frames.length > 1
  const shared = frames[0]!.colors
  const bitsFor = (colors: Uint8Array) => Math.max(1, Math.ceil(Math.log2(colors.length / 3 + (animated ? 1 : 0))))
  const screen = new Uint8Array(width * height * 3)
  const whole = { left: 0, top: 0, right: width, bottom: height }
  const encode = createCoder(width, screen, tolerance)
  const parts = [header(width, height, shared, bitsFor(shared)), ...(animated ? [LOOP] : [])]
  for (const [i, frame] of frames.entries()) {
    const { colors, delayCs } = frame
    const area = i === 0 ? whole : changedArea(frame, screen, width, tolerance)
    const { data, transparent }: Drawn = i === 0 ? { data: encode(frame, area) } : drawnOver(frame, area)
    const bits = bitsFor(colors)
    parts.push(control(delayCs, transparent), descriptor(area, colors === shared ? 0 : 0x80 | (bits - 1)))
    if (colors !== shared) parts.push(table(colors, bits))
    parts.push(data)
    onFrame?.(screen, i)
  }
  return Buffer.concat([...parts, Buffer.of(TRAILER)])

  function drawnOver (frame: GifFrame, area: Area): Drawn {
    const transparent = frame.colors.length / 3
    const before = thorough ? screen.slice() : screen
    const difference = encode(frame, area, transparent)
    if (!thorough) return { data: difference, transparent }
    const after = screen.slice()
    screen.set(before)
    const opaque = encode(frame, area)
    if (opaque.length < difference.length) return { data: opaque }
    screen.set(after)
    return { data: difference, transparent }
  }
}

function header (width: number, height: number, colors: Uint8Array, bits: number): Buffer {
  const block = Buffer.alloc(13)
  block.write('GIF89a', 'latin1')
  block.writeUInt16LE(width, 6)
  block.writeUInt16LE(height, 8)
  block[10] = 0xf0 | (bits - 1)
  return Buffer.concat([block, table(colors, bits)])
}

function table (colors: Uint8Array, bits: number): Buffer {
  const padded = Buffer.alloc(3 << bits)
  padded.set(colors)
  return padded
}

/** Netscape's extension: loop for ever. */
const LOOP = Buffer.from('\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0', 'latin1')

function control (delayCs: number, transparent: number | undefined): Buffer {
  const block = Buffer.of(0x21, 0xf9, 4, 0x04 | (transparent === undefined ? 0 : 1), 0, 0, transparent ?? 0, 0)
  block.writeUInt16LE(delayCs, 4)
  return block
}

function descriptor ({ left, top, right, bottom }: Area, tableFlags: number): Buffer {
  const block = Buffer.alloc(10)
  block[0] = 0x2c
  for (const [i, value] of [left, top, right - left, bottom - top].entries()) block.writeUInt16LE(value, 1 + 2 * i)
  block[9] = tableFlags
  return block
}

/**
 * The smallest rectangle that holds every pixel to be drawn. One pixel if there is none, because a frame must have
 * some.
 */
function changedArea ({ indices, colors }: GifFrame, screen: Uint8Array, width: number, tolerance: number): Area {
  const height = indices.length / width
  const area = { left: width, top: height, right: 0, bottom: 0 }
  const max = tolerance * tolerance
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (distance(colors, indices[at]! * 3, screen, at * 3) <= max) continue
      if (x < area.left) area.left = x
      if (x >= area.right) area.right = x + 1
      if (y < area.top) area.top = y
      area.bottom = y + 1
    }
  }
  return area.right > 0 ? area : { left: 0, top: 0, right: 1, bottom: 1 }
}

function distance (a: Uint8Array, i: number, b: Uint8Array, j: number): number {
  const red = a[i]! - b[j]!
  const green = a[i + 1]! - b[j + 1]!
  const blue = a[i + 2]! - b[j + 2]!
  return red * red + green * green + blue * blue
}

/** For each colour, the others within the tolerance, the nearest first: from `starts[color]` to `starts[color + 1]`. */
interface Neighbours { starts: Uint16Array, near: Uint8Array }

function neighboursOf (colors: Uint8Array, max: number): Neighbours {
  const count = colors.length / 3
  const starts = new Uint16Array(count + 1)
  const near: number[] = []
  for (let i = 0; i < count; i++) {
    const found: Array<{ index: number, off: number }> = []
    for (let index = 0; index < count; index++) {
      const off = distance(colors, i * 3, colors, index * 3)
      if (off <= max && index !== i) found.push({ index, off })
    }
    for (const { index } of found.sort((a, b) => a.off - b.off)) near.push(index)
    starts[i + 1] = near.length
  }
  return { starts, near: Uint8Array.from(near) }
}

/**
 * LZW with codes of variable length (GIF89a, appendix F). Its dictionary is a hash table of the strings that are a code
 * and one pixel more (as in compress(1)). The encoder draws its output on `screen`, so that tolerated errors never add
 * up.
 */
function createCoder (width: number, screen: Uint8Array, tolerance: number) {
  const keys = new Int32Array(HASH_SIZE)
  const codes = new Uint16Array(HASH_SIZE)
  const lastIndex = new Uint8Array(1 << MAX_CODE)
  let neighbours: Neighbours = { starts: new Uint16Array(), near: new Uint8Array() }
  let neighboursIn: Uint8Array | undefined
  const packed = new Uint8Array(screen.length + 16)
  const max = tolerance * tolerance
  return encode

  function encode ({ indices, colors }: GifFrame, { left, top, right, bottom }: Area, transparent?: number): Buffer {
    const least = Math.max(2, Math.ceil(Math.log2(colors.length / 3 + (transparent === undefined ? 0 : 1))))
    const restart = 1 << least
    let next = restart + 2
    let length = least + 1
    let held = 0
    let heldBits = 0
    let size = 0
    const put = (code: number) => {
      held |= code << heldBits
      for (heldBits += length; heldBits >= 8; heldBits -= 8, held >>>= 8) packed[size++] = held & 0xff
      if (next === 1 << length && length < MAX_CODE) length++
    }
    const clear = () => {
      put(restart)
      keys.fill(0)
      next = restart + 2
      length = least + 1
    }
    if (max > 0 && neighboursIn !== colors) neighbours = neighboursOf(neighboursIn = colors, max)
    clear()
    let code = -1
    for (let y = top; y < bottom; y++) {
      for (let x = left, at = y * width + left; x < right; x++, at++) {
        const shown = transparent !== undefined && distance(colors, indices[at]! * 3, screen, at * 3) <= max
        const wanted = shown ? transparent : indices[at]!
        const child = code === -1 ? 0 : childFor(code, wanted, indices[at]!)
        if (child === 0) {
          if (code !== -1) {
            put(code)
            if (next === 1 << MAX_CODE) clear()
            else add(code, next++, wanted)
          }
          code = wanted
        } else {
          code = child
        }
        const drawn = child === 0 ? wanted : lastIndex[child]!
        if (drawn !== transparent) {
          screen[at * 3] = colors[drawn * 3]!
          screen[at * 3 + 1] = colors[drawn * 3 + 1]!
          screen[at * 3 + 2] = colors[drawn * 3 + 2]!
        }
      }
    }
    put(code)
    put(restart + 1)
    if (heldBits > 0) packed[size++] = held
    return subBlocks(least, packed.subarray(0, size))
  }

  /** The code of the string that continues with the wanted pixel, or with a tolerated one. 0 if there is none. */
  function childFor (code: number, wanted: number, index: number): number {
    const child = childOf(code, wanted)
    if (child !== 0 || max === 0) return child
    if (wanted !== index) {
      const own = childOf(code, index)
      if (own !== 0) return own
    }
    for (let i = neighbours.starts[index]!; i < neighbours.starts[index + 1]!; i++) {
      const near = childOf(code, neighbours.near[i]!)
      if (near !== 0) return near
    }
    return 0
  }

  function childOf (code: number, index: number): number {
    const key = code << 8 | index | USED
    let at = slotOf(code, index)
    while (keys[at] !== 0 && keys[at] !== key) at = at + 1 & HASH_SIZE - 1
    return keys[at] === 0 ? 0 : codes[at]!
  }

  function add (parent: number, code: number, index: number): void {
    let at = slotOf(parent, index)
    while (keys[at] !== 0) at = at + 1 & HASH_SIZE - 1
    keys[at] = parent << 8 | index | USED
    codes[at] = code
    lastIndex[code] = index
  }
}

const slotOf = (code: number, index: number) => Math.imul(code << 8 | index, 0x9e3779b1) >>> 32 - HASH_BITS

function subBlocks (least: number, codes: Uint8Array): Buffer {
  const out = Buffer.alloc(codes.length + Math.ceil(codes.length / 255) + 2)
  out[0] = least
  let at = 1
  for (let from = 0; from < codes.length; from += 255) {
    const block = codes.subarray(from, from + 255)
    out[at++] = block.length
    out.set(block, at)
    at += block.length
  }
  return out
}
