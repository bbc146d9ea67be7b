import { damagedImage } from '../../errors.js'

const MAX_PIXELS_A_SIDE = 16_384
const MAX_PIXELS_A_FRAME = 50_000_000
/** For a picture in several passes, which must be in memory whole. */
const MAX_PIXELS_IN_PASSES = 16_000_000
const MAX_PIXELS = 200_000_000
const MAX_FRAMES = 1000

interface Place { left?: number, top?: number, inPasses?: boolean }

/** Limits what one picture demands of its decoder. Both methods throw damagedImage() beyond that. */
export function createBounds () {
  let width = 0
  let height = 0
  let frames = 0

  /** Notes that the canvas is at least this large. */
  function canvas (atLeastWide: number, atLeastHigh: number, mostPixels = MAX_PIXELS_A_FRAME): void {
    width = Math.max(width, atLeastWide)
    height = Math.max(height, atLeastHigh)
    const pixels = width * height
    if (width > MAX_PIXELS_A_SIDE ||
      height > MAX_PIXELS_A_SIDE ||
      pixels > mostPixels ||
      pixels * frames > MAX_PIXELS) {
      throw damagedImage()
    }
  }

  /** Notes one more frame of this size. Returns their number so far. */
  function frame (
    frameWidth: number,
    frameHeight: number,
    { left = 0, top = 0, inPasses = false }: Place = {}
  ): number {
    if (frameWidth < 1 || frameHeight < 1 || frames === MAX_FRAMES) throw damagedImage()
    frames++
    canvas(left + frameWidth, top + frameHeight, inPasses ? MAX_PIXELS_IN_PASSES : undefined)
    return frames
  }

  return { canvas, frame }
}
