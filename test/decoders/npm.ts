/** Decoders that clients take from npm; each gives all that it makes of a picture, and throws where it refuses one. */
import { decompressFrames, parseGIF } from 'gifuct-js'
import { imageSize } from 'image-size'
import jpeg from 'jpeg-js'
import omggif from 'omggif'
import { PNG } from 'pngjs'
import sharp from 'sharp'
import UPNG from 'upng-js'
import type { Format } from '../helpers/picture-bytes.js'

export interface Decoder { name: string, formats: Format[], decode: (file: Buffer) => unknown }

export const NPM_DECODERS: Decoder[] = [
  { name: 'omggif', formats: ['gif'], decode: byOmggif },
  { name: 'gifuct-js', formats: ['gif'], decode: byGifuct },
  { name: 'jpeg-js', formats: ['jpeg'], decode: file => jpeg.decode(file, { formatAsRGBA: false }).data },
  { name: 'pngjs', formats: ['png'], decode: file => PNG.sync.read(file).data },
  { name: 'upng-js', formats: ['png'], decode: byUpng },
  { name: 'image-size', formats: ['gif', 'jpeg', 'png', 'webp'], decode: byImageSize },
  { name: 'sharp', formats: ['gif', 'jpeg', 'png', 'webp'], decode: bySharp }
]

function byOmggif (file: Buffer) {
  const gif = new omggif.GifReader(file)
  return Array.from({ length: gif.numFrames() }, (_, k) => {
    const { delay, disposal, x, y, width, height, transparent_index: transparent } = gif.frameInfo(k)
    const pixels = new Uint8Array(gif.width * gif.height * 4)
    gif.decodeAndBlitFrameRGBA(k, pixels)
    return { delay, disposal, x, y, width, height, transparent, pixels }
  })
}

function byGifuct (file: Buffer) {
  const frames = decompressFrames(parseGIF(new Uint8Array(file).buffer), true)
  return frames.map(({ delay, disposalType, dims, patch, transparentIndex }) => (
    { delay, disposalType, dims, patch, transparentIndex }
  ))
}

function byUpng (file: Buffer) {
  const picture = UPNG.decode(new Uint8Array(file).buffer)
  return [picture.width, picture.height, ...UPNG.toRGBA8(picture).map(frame => new Uint8Array(frame))]
}

function byImageSize (file: Buffer) {
  const { width, height, orientation = 1 } = imageSize(file)
  return { width, height, orientation }
}

/** The service in the same process lets libvips read no GIF. */
async function bySharp (file: Buffer) {
  sharp.unblock({ operation: ['VipsForeignLoad'] })
  const { data, info } = await sharp(file, { animated: true }).raw().toBuffer({ resolveWithObject: true })
  const { delay, loop, orientation, pages } = await sharp(file).metadata()
  return { data, info, delay, loop, orientation: orientation ?? 1, pages }
}
