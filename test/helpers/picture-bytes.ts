import { crc32 } from 'node:zlib'
import sharp from 'sharp'
import type { FileType } from '../../services/pictures/file-type.js'
import { seededRandom } from './seeded-random.js'

/**
 * The text that must not be in a served file. None of its bytes is zero as a GIF sub-block length, or means something
 * in JPEG or RIFF.
 */
export const SECRET = 'Secret51N0W'

export const TYPES = {
  gif: { contentType: 'image/gif', extension: 'gif' },
  png: { contentType: 'image/png', extension: 'png' },
  jpeg: { contentType: 'image/jpeg', extension: 'jpg' },
  webp: { contentType: 'image/webp', extension: 'webp' }
} as const satisfies Record<string, FileType>

export type Format = keyof typeof TYPES

/** A picture of noise, of one frame or more. */
export function noise (width: number, height: number, { frames = 1, channels = 3 as 1 | 3 | 4, seed = 1 } = {}) {
  const random = seededRandom(seed)
  const pixels = Buffer.from(Array.from({ length: width * height * frames * channels }, () =>
    Math.floor(random() * 256)))
  return sharp(pixels, { raw: { width, height: height * frames, channels, ...(frames > 1 && { pageHeight: height }) } })
}

const latin1 = (text: string) => Buffer.from(text, 'latin1')
const bytes = (...values: number[]) => Buffer.from(values)

/** An Exif block with a camera, a place and an orientation (0: none), in either byte order. */
export function exif (
  orientation: number,
  { order = 'II' as 'II' | 'MM', prefix = '', type = 3, count = 1 } = {}
): Buffer {
  const uint16 = (value: number) => order === 'II' ? bytes(value & 255, value >> 8) : bytes(value >> 8, value & 255)
  const uint32 = (value: number) => order === 'II'
    ? Buffer.concat([uint16(value & 0xffff), uint16(value >>> 16)])
    : Buffer.concat([uint16(value >>> 16), uint16(value & 0xffff)])
  const text = latin1(SECRET + '\0')
  const tags: Array<[tag: number, type: number, count: number, value: Buffer]> = [
    [0x010f, 2, text.length, uint32(8 + 2 + (orientation ? 3 : 2) * 12 + 4)],
    ...(orientation
      ? [[0x0112, type, count, Buffer.concat([uint16(orientation), uint16(0)])] as [number, number, number, Buffer]]
      : []),
    [0x0131, 2, 4, latin1(SECRET.slice(0, 3) + '\0')]
  ]
  const entries = tags.map(([tag, type, count, value]) =>
    Buffer.concat([uint16(tag), uint16(type), uint32(count), value]))
  return Buffer.concat([
    latin1(prefix),
    latin1(order),
    uint16(42),
    uint32(8),
    uint16(tags.length),
    ...entries,
    uint32(0),
    text
  ])
}

export function pngChunk (type: string, data: Buffer | string = ''): Buffer {
  const content = Buffer.concat([latin1(type), typeof data === 'string' ? latin1(data) : data])
  const chunk = Buffer.alloc(content.length + 8)
  chunk.writeUInt32BE(content.length - 4)
  content.copy(chunk, 4)
  chunk.writeUInt32BE(crc32(content), content.length + 4)
  return chunk
}

export const PNG_SIGNATURE = latin1('\x89PNG\r\n\x1a\n')

export function ihdr (width: number, height: number, interlace = 0): Buffer {
  const data = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, interlace])
  data.writeUInt32BE(width)
  data.writeUInt32BE(height, 4)
  return pngChunk('IHDR', data)
}

export function fctl (width: number, height: number): Buffer {
  const data = Buffer.alloc(26)
  data.writeUInt32BE(width, 4)
  data.writeUInt32BE(height, 8)
  return pngChunk('fcTL', data)
}

/** A PNG with more chunks after its header and before its end. */
export function pngWith (png: Buffer, first: Buffer[], last: Buffer[] = [], after = ''): Buffer {
  return Buffer.concat([
    png.subarray(0, 33),
    ...first,
    png.subarray(33, -12),
    ...last,
    png.subarray(-12),
    latin1(after)
  ])
}

export function segment (code: number, parameters: Buffer | string): Buffer {
  const content = typeof parameters === 'string' ? latin1(parameters) : parameters
  return Buffer.concat([bytes(0xff, code, content.length + 2 >> 8, content.length + 2 & 255), content])
}

/** A JPEG with more segments after its start. */
export const jpegWith = (jpeg: Buffer, segments: Buffer[], after = '') => Buffer.concat([
  jpeg.subarray(0, 2),
  ...segments,
  jpeg.subarray(2),
  latin1(after)
])

export function sof (code: number, width: number, height: number, components = 3): Buffer {
  return segment(
    code,
    bytes(
      8,
      height >> 8,
      height & 255,
      width >> 8,
      width & 255,
      components,
      ...Array.from({ length: components }, (_, i) => [i + 1, 0x11, 0]).flat()
    )
  )
}

export const sos = segment(0xda, bytes(1, 1, 0, 0, 63, 0))
export const SOI = bytes(0xff, 0xd8)
export const EOI = bytes(0xff, 0xd9)

/** The offset of a JPEG's first segment with this code, up to its first scan. */
export function segmentOffset (jpeg: Buffer, code: number): number {
  for (let at = 2; ; at += 2 + jpeg.readUInt16BE(at + 2)) if (jpeg[at + 1] === code) return at
}

/** A grey JPEG of 8 × 24 pixels with a restart marker after each block. */
export async function jpegWithRestarts (): Promise<Buffer> {
  const plain = await sharp({ create: { width: 8, height: 24, channels: 3, background: '#808080' } })
    .toColourspace('b-w')
    .jpeg({ optimiseCoding: false })
    .toBuffer()
  const scan = segmentOffset(plain, 0xda)
  const header = plain.subarray(scan, scan + 2 + plain.readUInt16BE(scan + 2))
  const block = 0x2b // the DC code 00, the end of block 1010, and ones up to the next byte
  return Buffer.concat([
    plain.subarray(0, scan),
    segment(0xdd, bytes(0, 1)),
    header,
    bytes(block, 0xff, 0xd0, block, 0xff, 0xd1, block),
    EOI
  ])
}

export const subBlocks = (...blocks: Array<Buffer | string>) => Buffer.concat([
  ...blocks.flatMap(block => [bytes(block.length), typeof block === 'string' ? latin1(block) : block]),
  bytes(0)
])
export const gifComment = (...texts: string[]) => Buffer.concat([bytes(0x21, 0xfe), subBlocks(...texts)])
export const gifApplication = (id: string, ...blocks: Array<Buffer | string>) => Buffer.concat([
  bytes(0x21, 0xff),
  subBlocks(id, ...blocks)
])
export const gifPlainText = (text: string) => Buffer.concat([
  bytes(0x21, 0x01),
  subBlocks(bytes(0, 0, 0, 0, 8, 0, 8, 0, 8, 8, 0, 1), text)
])
/** XMP is not in sub-blocks. A reader that takes any of its bytes for a length finds the end in the trailer. */
export const gifXmp = (text: string) => Buffer.concat([
  bytes(0x21, 0xff, 11),
  latin1('XMP DataXMP'),
  latin1(text),
  bytes(1),
  Buffer.from(Array.from({ length: 256 }, (_, i) => 255 - i)),
  bytes(0)
])
export const gifControl = bytes(0x21, 0xf9, 4, 0, 10, 0, 0, 0)

export function gifHeader (width: number, height: number): Buffer {
  return Buffer.concat([latin1('GIF89a'), bytes(width & 255, width >> 8, height & 255, height >> 8, 0, 0, 0)])
}

export function gifImage (width: number, height: number, left = 0, top = 0, ...data: string[]): Buffer {
  const descriptor = Buffer.alloc(11)
  descriptor[0] = 0x2c
  for (const [i, value] of [left, top, width, height].entries()) descriptor.writeUInt16LE(value, 1 + 2 * i)
  descriptor[10] = 2
  return Buffer.concat([descriptor, subBlocks(...data)])
}

/** Length of header and global colour table. */
export const gifHeaderBytes = (gif: Buffer) => 13 + (gif[10]! & 0x80 ? 3 * 2 ** ((gif[10]! & 7) + 1) : 0)

/** A GIF with more blocks before its first and before its trailer. */
export function gifWith (gif: Buffer, first: Buffer[], last: Buffer[] = [], after = ''): Buffer {
  const start = gifHeaderBytes(gif)
  return Buffer.concat([
    gif.subarray(0, start),
    ...first,
    gif.subarray(start, -1),
    ...last,
    gif.subarray(-1),
    latin1(after)
  ])
}

export function riffChunk (type: string, data: Buffer | string = ''): Buffer {
  const content = typeof data === 'string' ? latin1(data) : data
  const size = Buffer.alloc(4)
  size.writeUInt32LE(content.length)
  return Buffer.concat([latin1(type), size, content, Buffer.alloc(content.length % 2)])
}

export function webp (...chunks: Buffer[]): Buffer {
  return riffChunk('RIFF', Buffer.concat([latin1('WEBP'), ...chunks]))
}

const uint24 = (value: number) => bytes(value & 255, value >> 8 & 255, value >> 16 & 255)

export const vp8x = (flags: number, width: number, height: number) => riffChunk(
  'VP8X',
  Buffer.concat([bytes(flags, 0, 0, 0), uint24(width - 1), uint24(height - 1)])
)
export const vp8 = (width: number, height: number) => riffChunk(
  'VP8 ',
  bytes(0, 0, 0, 0x9d, 1, 0x2a, width & 255, width >> 8, height & 255, height >> 8)
)
export function vp8l (width: number, height: number): Buffer {
  const data = Buffer.from([0x2f, 0, 0, 0, 0])
  data.writeUInt32LE(width - 1 + (height - 1) * 2 ** 14, 1)
  return riffChunk('VP8L', data)
}
export const anmf = (width: number, height: number, ...chunks: Buffer[]) => riffChunk(
  'ANMF',
  Buffer.concat([uint24(0), uint24(0), uint24(width - 1), uint24(height - 1), uint24(100), bytes(0), ...chunks])
)

/** The chunks of a WebP, header and padding included. */
export function riffChunks (file: Buffer): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 12; at + 8 <= file.length;) {
    const end = at + 8 + file.readUInt32LE(at + 4) + file.readUInt32LE(at + 4) % 2
    chunks.push(file.subarray(at, end))
    at = end
  }
  return chunks
}

/** A WebP with more chunks after its own. Its extended header announces them by `flags`. */
export function webpWith (file: Buffer, flags: number, last: Buffer[], after = ''): Buffer {
  const [header, ...rest] = riffChunks(file)
  const extended = Buffer.from(header!)
  extended[8]! |= flags
  return Buffer.concat([webp(extended, ...rest, ...last), latin1(after)])
}

/**
 * All bytes of a picture except its pixels, tables and colour profiles. It shares no code with the service, and reads
 * any file that begins like a picture.
 */
export function besidePixels (format: Format, file: Buffer): Buffer {
  return Buffer.concat({ gif: besideGif, png: besidePng, jpeg: besideJpeg, webp: besideWebp }[format](file))
}

function besidePng (file: Buffer): Buffer[] {
  const found: Buffer[] = []
  let at = 8
  for (let type = ''; type !== 'IEND'; at += 12 + file.readUInt32BE(at)) {
    type = file.toString('latin1', at + 4, at + 8)
    if (!['IDAT', 'fcTL', 'fdAT', 'iCCP', 'sPLT', 'PLTE'].includes(type)) {
      found.push(file.subarray(at, at + 12 + file.readUInt32BE(at)))
    }
  }
  return [...found, file.subarray(at)]
}

function besideJpeg (file: Buffer): Buffer[] {
  const found: Buffer[] = []
  let at = 2
  for (;;) {
    const stray = at
    while (file[at] !== 0xff || file[at + 1] === 0 || file[at + 1] === 0xff) at++
    found.push(file.subarray(stray, at))
    const code = file[at + 1]!
    if (code === 0xd9) return [...found, file.subarray(at)]
    const isAlone = code === 0x01 || code >> 3 === 0xd0 >> 3
    const end = at + 2 + (isAlone ? 0 : Math.max(2, file.readUInt16BE(at + 2)))
    const isColor = code === 0xe2 && file.toString('latin1', at + 4, at + 8) === 'ICC_'
    if (code !== 0xdb && code !== 0xc4 && !isColor) found.push(file.subarray(at, end))
    at = end
    if (code === 0xda) {
      while (file[at] !== 0xff || [0, 0xff].includes(file[at + 1]!) || file[at + 1]! >> 3 === 0xd0 >> 3) at++
    }
  }
}

function besideGif (file: Buffer): Buffer[] {
  const found: Buffer[] = []
  let at = gifHeaderBytes(file)
  while (at < file.length && file[at] !== 0x3b) {
    const image = file[at] === 0x2c
    const start = at
    at += image ? 11 + (file[at + 9]! & 0x80 ? 3 * 2 ** ((file[at + 9]! & 7) + 1) : 0) : 2
    while (file[at] !== 0) at += 1 + file[at]!
    at++
    if (!image && file.toString('latin1', start + 3, start + 6) !== 'ICC') found.push(file.subarray(start, at))
  }
  return [...found, file.subarray(at)]
}

function besideWebp (file: Buffer): Buffer[] {
  const end = 8 + file.readUInt32LE(4)
  return [
    ...riffChunks(file.subarray(0, end)).filter(chunk =>
      !['VP8 ', 'VP8L', 'ALPH', 'ICCP', 'ANMF'].includes(chunk.toString('latin1', 0, 4))),
    file.subarray(end)
  ]
}
