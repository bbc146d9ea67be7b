import type { Metadata, SharpOptions } from 'sharp'
import type { Fit, RenditionType } from '../../schemas/library.js'
import { damagedImage, outOfResources, ServiceError } from '../errors.js'
import { drawnSize, fitFrames, type Frames } from './fit-frames.js'
import { drawGif, readGif, type ParsedGif } from './gif-decoder.js'
import { endsEarly } from './jpeg-scans.js'
import { DECODE_SECONDS, MAX_FRAME_PIXELS, MAX_FRAMES, MAX_PIXELS, MAX_SIDE } from './limits.js'
import { isTurned, orientFrames } from './orient-frames.js'
import { makeRendition, type MadeGif } from './rendition.js'
import { createShrink } from './shrink-rows.js'
import { makeStill } from './still.js'

export interface PictureFacts {
  width: number
  height: number
  frames: number
  duration_ms: number
  dominant_color: string
}

/** A picture of `size`, `<width>x<height>`: a GIF, or a PNG of a still. */
export interface MadeRendition extends MadeGif { size: string, content_type: RenditionType }

export interface Picture { facts: PictureFacts, renditions: MadeRendition[] }

const FORMATS = new Set(['png', 'jpeg', 'webp'])
/** As in browsers, for a frame without a delay. */
const NO_DELAY_MS = 100
/**
 * Frames are decoded at this multiple of the size at which they are drawn, if more than one size is drawn of them, or
 * if the decoder mixes two frames at their edges, where rows can then be left out.
 */
const DETAIL = 2
/** The most bytes of a picture's decoded frames. Beyond it there is less detail. */
const MAX_DECODED_BYTES = 64 * 1024 * 1024

export interface PicturesOptions {
  /** Sizes of the renditions, `<width>x<height>` each. */
  sizes: string[]
  maxBytes: number
  decodeSeconds?: number
}

/** The caller decides what a timeout means, because it knows how much CPU time the process used. */
export class DecodeTimeout extends Error {
  readonly allowedMs: number

  constructor (allowedMs: number) {
    super(`not decoded within ${allowedMs} ms`)
    this.allowedMs = allowedMs
  }
}

interface Decoded { frames: Frames, size: Box, delays: number[] }

/**
 * Reads pictures in the calling thread. `read` decodes a whole GIF, PNG, JPEG or WebP once, for its facts and its
 * renditions; of an animated PNG, the default image. Each frame is turned upright by the Exif orientation. A frame
 * without a delay counts 100 ms. A picture of one frame has no duration. The dominant colour is that of the first
 * frame, on black where it is transparent. Rejects with damagedImage() if the bytes are out of bounds or cannot be
 * decoded to their end, with DecodeTimeout if that takes too long, and with outOfResources() if the machine lacks
 * something. See `makeRendition` for what a rendition keeps.
 */
export function createPictures ({ sizes, maxBytes, decodeSeconds = DECODE_SECONDS }: PicturesOptions) {
  const boxes = sizes.map(size => ({ size, box: boxOf(size) }))
  return { read }

  async function read (bytes: Buffer, fit: Fit): Promise<Picture> {
    const { frames, size, delays } = await decode(bytes, fit).catch((cause: unknown) => {
      throw cause instanceof DecodeTimeout || cause instanceof ServiceError ? cause : damagedImage(cause)
    })
    const renditions = boxes.map(({ size: name, box }) => render(fitFrames(frames, size, box, fit), name, delays))
    const duration = delays.reduce((a, b) => a + b, 0)
    return {
      facts: { ...size, frames: frames.count, duration_ms: duration, dominant_color: dominantColor(frames) },
      renditions
    }
  }

  function render (frames: Frames, size: string, delays: number[]): MadeRendition {
    return frames.count > 1
      ? { size, content_type: 'image/gif', ...makeRendition(frames, delays, maxBytes) }
      : { size, content_type: 'image/png', bytes: makeStill(frames, maxBytes), frames: 1, duration_ms: 0 }
  }

  async function decode (bytes: Buffer, fit: Fit): Promise<Decoded> {
    return bytes.toString('latin1', 0, 3) === 'GIF' ? decodeGif(bytes, fit) : decodeBySharp(bytes, fit)
  }

  /** Does not use libvips: its GIF decoder takes less than browsers do, and clears to the background colour. */
  function decodeGif (bytes: Buffer, fit: Fit): Decoded {
    const gif = readGif(bytes)
    const count = gif.images.length
    const size = gifSizeWithinBounds(gif)
    const target = decodedSize(size, count, fit, boxes.length > 1)
    const frameBytes = target.width * target.height * 3
    const data = new Uint8Array(frameBytes * count)
    const shrink = createShrink(size, target)
    const deadline = performance.now() + decodeSeconds * 1000
    let at = 0
    for (const { screen, area } of drawGif(bytes, gif)) {
      if (performance.now() > deadline) throw new DecodeTimeout(decodeSeconds * 1000)
      if (at > 0) data.copyWithin(at, at - frameBytes, at)
      shrink(screen, data.subarray(at, at + frameBytes), area)
      at += frameBytes
    }
    return { frames: { ...target, count, data }, size, delays: delaysOf(gif.images.map(({ delayMs }) => delayMs)) }
  }

  async function decodeBySharp (bytes: Buffer, fit: Fit): Promise<Decoded> {
    const deadline = performance.now() + decodeSeconds * 1000
    const sharp = await loadedSharp()
    const options: SharpOptions = { animated: true, limitInputPixels: MAX_PIXELS + MAX_FRAME_PIXELS }
    const header = await sharp(bytes, options).metadata()
    const { pages: count = 1, orientation = 1, format, delay = [] } = header
    const stored = storedSizeWithinBounds(header)
    const size = turned(stored, orientation)
    const target = turned(decodedSize(size, count, fit, boxes.length > 1 || count > 1), orientation)
    const { data, info } = await pixels()
    // libjpeg only warns of that, as of much that is harmless
    if (format === 'jpeg' && endsEarly(bytes, checkTime)) throw new Error('the data of the JPEG end early')
    const frames = { width: info.width, height: info.height / count, count, data: inThreeBands(data, info.channels) }
    if (count > 1 && frames.height < stored.height) replaceRims(frames)
    return {
      frames: orientFrames(frames, orientation),
      size,
      delays: delaysOf(Array.from({ length: count }, (_, i) => delay[i] ?? 0))
    }

    function checkTime (): void {
      if (performance.now() > deadline) throw new DecodeTimeout(decodeSeconds * 1000)
    }

    async function pixels () {
      checkTime()
      const image = sharp(bytes, { ...options, failOn: 'error' })
      // else sharp leaves 16 bits in the colours of Display P3
      if (header.depth === 'ushort') image.pipelineColourspace('srgb')
      if (target.width < stored.width || target.height < stored.height) {
        image.resize({ ...target, fit: 'fill', kernel: 'cubic' })
      }
      const seconds = Math.max(1, Math.ceil((deadline - performance.now()) / 1000))
      return image
        .flatten({ background: '#000' })
        .toColourspace('srgb')
        .timeout({ seconds })
        .raw()
        .toBuffer({ resolveWithObject: true })
        .catch((error: unknown) => {
          const isTimeout = error instanceof Error && /^timeout\b/.test(error.message)
          throw isTimeout ? new DecodeTimeout(decodeSeconds * 1000) : error
        })
    }
  }

  /** Large enough for every rendition, within MAX_DECODED_BYTES, and never larger than the picture. */
  function decodedSize (size: Box, count: number, fit: Fit, detailed: boolean): Box {
    const detail = detailed ? DETAIL : 1
    const drawn = boxes.map(({ box }) => drawnSize(size, box, fit))
    const width = Math.min(size.width, detail * Math.max(1, ...drawn.map(({ width }) => width)))
    const height = Math.min(size.height, detail * Math.max(1, ...drawn.map(({ height }) => height)))
    const less = Math.min(1, Math.sqrt(MAX_DECODED_BYTES / (width * height * 3 * count)))
    return { width: Math.max(1, Math.floor(width * less)), height: Math.max(1, Math.floor(height * less)) }
  }
}

interface Box { width: number, height: number }

function boxOf (size: string): Box {
  const [width = 0, height = 0] = size.split('x').map(Number)
  return { width, height }
}

let loading: ReturnType<typeof loadSharp> | undefined

/** Loads sharp once. A failure is not cached, but the thread should end, because the loaded modules may be broken. */
async function loadedSharp () {
  try {
    return await (loading ??= loadSharp())
  } catch (cause) {
    loading = undefined
    throw outOfResources(cause)
  }
}

/**
 * Loads sharp (135 ms) when the first picture comes. sharp has one thread for each picture, caches nothing, and reads
 * only the accepted formats.
 */
async function loadSharp () {
  const { default: sharp } = await import('sharp')
  sharp.cache(false)
  sharp.concurrency(1)
  sharp.block({ operation: ['VipsForeignLoad'] })
  sharp.unblock({ operation: ['Png', 'Jpeg', 'Webp'].map(name => `VipsForeignLoad${name}Buffer`) })
  return sharp
}

/** The size of each frame as stored. Throws if the header has an unaccepted format or size. */
function storedSizeWithinBounds ({ format, pages = 1, width, height, pageHeight = height }: Metadata): Box {
  if (!FORMATS.has(format)) throw new Error(`${format} is not taken`)
  return withinBounds({ width, height: pageHeight }, pages)
}

/** The size of the screen. An image beyond the screen costs as much as on a larger one. */
function gifSizeWithinBounds ({ width, height, images }: ParsedGif): Box {
  if (width === 0 || height === 0) throw new Error('it has no pixels')
  const reach = {
    width: Math.max(width, ...images.map(image => image.left + image.width)),
    height: Math.max(height, ...images.map(image => image.top + image.height))
  }
  withinBounds(reach, images.length)
  return { width, height }
}

function withinBounds (size: Box, frames: number): Box {
  const pixels = size.width * size.height
  if (Math.max(size.width, size.height) > MAX_SIDE || pixels > MAX_FRAME_PIXELS) throw new Error('too many pixels')
  if (frames > MAX_FRAMES || pixels * frames > MAX_PIXELS) throw new Error('too many frames')
  return size
}

const turned = (size: Box, orientation: number): Box => isTurned(orientation)
  ? { width: size.height, height: size.width }
  : size

/**
 * Replaces the edge rows of each frame by their neighbours: sharp shrinks frames as one tall picture, which mixes two
 * frames where they meet.
 */
function replaceRims ({ width, height, count, data }: Frames): void {
  if (height < 4) return
  const row = width * 3
  for (let k = 0; k < count; k++) {
    const first = k * height * row
    const last = first + (height - 1) * row
    data.copyWithin(first, first + row, first + 2 * row)
    data.copyWithin(last, last - row, last)
  }
}

function delaysOf (delays: number[]): number[] {
  return delays.length === 1 ? [0] : delays.map(delay => delay || NO_DELAY_MS)
}

function inThreeBands (data: Buffer, channels: number): Uint8Array {
  if (channels === 3) return data
  return Uint8Array.from({ length: data.length / channels * 3 }, (_, i) =>
    data[Math.floor(i / 3) * channels + (channels > 2 ? i % 3 : 0)]!)
}

/** The mean of the largest group of colours that share the upper three bits of each channel. */
function dominantColor ({ width, height, data }: Frames): string {
  const bins = new Float64Array(512 * 4)
  for (let at = 0; at < width * height * 3; at += 3) {
    const bin = (data[at]! >> 5 << 6 | data[at + 1]! >> 5 << 3 | data[at + 2]! >> 5) * 4
    bins[bin]!++
    for (let c = 0; c < 3; c++) bins[bin + 1 + c]! += data[at + c]!
  }
  let largest = 0
  for (let bin = 4; bin < bins.length; bin += 4) if (bins[bin]! > bins[largest]!) largest = bin
  const [count, ...sums] = bins.subarray(largest, largest + 4)
  return `#${sums.map(sum => Math.round(sum / count!).toString(16).padStart(2, '0')).join('')}`
}
