import type { Metadata, SharpOptions } from 'sharp'
import type { Fit } from '../schemas/library.js'
import { damagedImage } from './errors.js'
import { drawnSize, fitFrames, type Frames } from './fit-frames.js'
import { gifScreen, readGifBlocks, withoutTail, withOpeningFrame } from './gif-blocks.js'
import { makeRendition, type MadeGif } from './rendition.js'

export interface PictureFacts { width: number, height: number, frames: number, duration_ms: number, dominant_color: string }

/** A GIF of `size`, `<width>x<height>`. */
export interface MadeRendition extends MadeGif { size: string }

export interface Picture { facts: PictureFacts, renditions: MadeRendition[] }

const LONGEST_SIDE = 16_384
const MOST_FRAMES = 1000
const FRAME_PIXELS = 50_000_000
const ALL_PIXELS = 200_000_000
const DECODE_SECONDS = 10
const FORMATS = new Set(['gif', 'png', 'jpeg', 'webp'])
/** As browsers play a frame without a delay. */
const NO_DELAY_MS = 100
/** Frames are decoded to so many times the size of what they are drawn as: what the decoder mixes of two frames at their edges is left out then. */
const DETAIL = 2
/** Of the decoded frames of one picture; beyond it there is less detail. */
const FRAMES_BYTES = 64 * 1024 * 1024

export interface PicturesOptions {
  /** Of the renditions, `<width>x<height>` each. */
  sizes: string[]
  maxBytes: number
}

/**
 * Reads pictures, in the thread that it is called in. `read` decodes a whole GIF, PNG, JPEG or WebP once, for its facts and its renditions; of an animated PNG, the default image.
 * A frame without a delay counts 100 ms; what has one frame has no duration. The dominant colour is that of the first frame, on black where it is transparent.
 * Rejects with damagedImage() when the bytes are out of bounds, or cannot be decoded to their end, or not within 10 s. See `makeRendition` for what a rendition keeps.
 */
export function createPictures ({ sizes, maxBytes }: PicturesOptions) {
  const boxes = sizes.map(size => ({ size, box: boxOf(size) }))
  return { read }

  async function read (bytes: Buffer, fit: Fit): Promise<Picture> {
    const { frames, size, delays } = await decode(bytes, fit).catch((cause: unknown) => { throw damagedImage(cause) })
    const rim = frames.count > 1 && frames.height < size.height && frames.height >= 4 ? 1 : 0
    const renditions: MadeRendition[] = []
    for (const { size: name, box } of boxes) {
      renditions.push({ size: name, ...makeRendition(fitFrames(frames, size, box, fit, rim), delays, maxBytes) })
    }
    const duration = delays.reduce((a, b) => a + b, 0)
    return { facts: { ...size, frames: frames.count, duration_ms: duration, dominant_color: dominantColor(frames) }, renditions }
  }

  async function decode (file: Buffer, fit: Fit): Promise<{ frames: Frames, size: Box, delays: number[] }> {
    const sharp = await (loading ??= loadSharp())
    const bytes = withoutTail(file)
    const limits: SharpOptions = { animated: true, limitInputPixels: ALL_PIXELS + FRAME_PIXELS }
    const header = await sharp(bytes, limits).metadata()
    const size = sizeWithinBounds(header, bytes)
    const count = header.pages ?? 1
    // libvips disbelieves some screens (640×480 for one) and takes the first frame for all there is to see.
    const opening = header.format === 'gif' && (size.width > header.width || size.height > (header.pageHeight ?? header.height)) ? 1 : 0
    const target = decodedSize(size, count, fit)
    const image = sharp(opening ? withOpeningFrame(bytes) : bytes, { ...limits, autoOrient: count === 1 && opening === 0, failOn: header.format === 'jpeg' ? 'warning' : 'error' })
    if (header.depth === 'ushort') image.pipelineColourspace('srgb') // else sharp leaves 16 bits in the colours of Display P3
    if (target.width < size.width || target.height < size.height) image.resize({ ...target, fit: 'fill', kernel: 'cubic' })
    const { data, info } = await image.flatten({ background: '#000' }).toColourspace('srgb').timeout({ seconds: DECODE_SECONDS }).raw().toBuffer({ resolveWithObject: true })
    const height = info.height / (count + opening)
    const seen = inThreeBands(data, info.channels).subarray(opening * info.width * height * 3)
    return { frames: { width: info.width, height, count, data: seen }, size, delays: delaysOf(header, count) }
  }

  /** Large enough for every rendition, and never larger than the picture. */
  function decodedSize (size: Box, count: number, fit: Fit): Box {
    const drawn = boxes.map(({ box }) => drawnSize(size, box, fit))
    const width = Math.min(size.width, DETAIL * Math.max(1, ...drawn.map(({ width }) => width)))
    const height = Math.min(size.height, DETAIL * Math.max(1, ...drawn.map(({ height }) => height)))
    const less = Math.min(1, Math.sqrt(FRAMES_BYTES / (width * height * 3 * count)))
    return { width: Math.max(1, Math.floor(width * less)), height: Math.max(1, Math.floor(height * less)) }
  }
}

interface Box { width: number, height: number }

function boxOf (size: string): Box {
  const [width = 0, height = 0] = size.split('x').map(Number)
  return { width, height }
}

let loading: ReturnType<typeof loadSharp> | undefined

/** 135 ms of loading, which nobody waits for who sends no picture. It has one thread for each picture, keeps nothing, and reads nothing but what is taken here. */
async function loadSharp () {
  const { default: sharp } = await import('sharp')
  sharp.cache(false)
  sharp.concurrency(1)
  sharp.block({ operation: ['VipsForeignLoad'] })
  sharp.unblock({ operation: ['Nsgif', 'Png', 'Jpeg', 'Webp'].map(name => `VipsForeignLoad${name}Buffer`) })
  return sharp
}

/** As seen. Throws when the header, or the blocks of a GIF, promise what is not taken. */
function sizeWithinBounds ({ format, pages = 1, autoOrient, pageHeight = autoOrient.height }: Metadata, bytes: Buffer): Box {
  if (!FORMATS.has(format)) throw new Error(`${format} is not taken`)
  if (format === 'gif' && readGifBlocks(bytes)?.images !== pages) throw new Error('it breaks off, or has frames that cannot be decoded')
  const screen = format === 'gif' ? gifScreen(bytes) : { width: 0, height: 0 }
  const size = { width: Math.max(autoOrient.width, screen.width), height: Math.max(pageHeight, screen.height) }
  const pixels = size.width * size.height
  if (Math.max(size.width, size.height) > LONGEST_SIDE || pixels > FRAME_PIXELS) throw new Error('too many pixels')
  if (pages > MOST_FRAMES || pixels * pages > ALL_PIXELS) throw new Error('too many frames')
  return size
}

function delaysOf ({ delay = [] }: Metadata, count: number): number[] {
  if (count === 1) return [0]
  return Array.from({ length: count }, (_, i) => delay[i] || NO_DELAY_MS)
}

function inThreeBands (data: Buffer, channels: number): Uint8Array {
  if (channels === 3) return data
  return Uint8Array.from({ length: data.length / channels * 3 }, (_, i) => data[Math.floor(i / 3) * channels + (channels > 2 ? i % 3 : 0)]!)
}

/** The mean of the colours that are alike in the upper three bits of each channel, of those that are the most. */
function dominantColor ({ width, height, data }: Frames): string {
  const bins = new Map<number, { count: number, sums: [number, number, number] }>()
  for (let at = 0; at < width * height * 3; at += 3) {
    const key = data[at]! >> 5 << 6 | data[at + 1]! >> 5 << 3 | data[at + 2]! >> 5
    const bin = bins.get(key) ?? { count: 0, sums: [0, 0, 0] }
    if (bin.count++ === 0) bins.set(key, bin)
    for (let c = 0; c < 3; c++) bin.sums[c]! += data[at + c]!
  }
  const { count, sums } = [...bins.values()].reduce((a, b) => b.count > a.count ? b : a)
  return `#${sums.map(sum => Math.round(sum / count).toString(16).padStart(2, '0')).join('')}`
}
