import { writeGif } from '../../../services/pictures/gif-encoder.js'
import { chosenColors, histogramOf, ownColors } from '../../../services/pictures/palette.js'
import { makeStill } from '../../../services/pictures/still.js'
import type { Color } from './color.js'

interface Size { width: number, height: number }

/** The colour of the pixel in column `x` and row `y`. */
export type Paint = (x: number, y: number) => Color

export interface Still extends Size { paint: Paint }

/** `paint` is called once for each frame. The frame after the last is the first again. */
export interface Animation extends Size { frames: number, delayCs: number, paint: (frame: number) => Paint }

/** One index of an animation's palette means "as before". */
const MAX_COLORS = 255
/** Errors in RGB that nobody sees. They make a smaller file. */
const TOLERANCE = 6

/** A GIF that loops for ever. */
export function toGif ({ width, height, frames, delayCs, paint }: Animation): Buffer {
  const size = width * height * 3
  const data = new Uint8Array(size * frames)
  for (let n = 0; n < frames; n++) draw({ width, height }, paint(n), data.subarray(n * size))
  const { colors, indicesOf } = ownColors(data, MAX_COLORS) ?? chosenColors(histogramOf(data), MAX_COLORS)
  return writeGif({
    width,
    height,
    frames: Array.from({ length: frames }, (_, n) =>
      ({ indices: indicesOf(data.subarray(n * size, (n + 1) * size)), colors, delayCs }))
  }, { tolerance: TOLERANCE })
}

/** A PNG. */
export function toPng ({ width, height, paint }: Still): Buffer {
  const data = new Uint8Array(width * height * 3)
  draw({ width, height }, paint, data)
  return makeStill({ width, height, count: 1, data }, Infinity)
}

function draw ({ width, height }: Size, paint: Paint, to: Uint8Array): void {
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (const light of paint(x, y)) to[at++] = Math.round(Math.min(1, Math.max(0, light)) * 255)
    }
  }
}
