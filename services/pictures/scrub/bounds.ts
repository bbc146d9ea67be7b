import { damagedImage } from '../../errors.js'
import { MAX_FRAME_PIXELS, MAX_FRAMES, MAX_PIXELS, MAX_PIXELS_IN_PASSES, MAX_SIDE } from '../limits.js'

interface Place { left?: number, top?: number, inPasses?: boolean }

/** Limits what one picture demands of its decoder. Both methods throw damagedImage() beyond that. */
export function createBounds () {
  let width = 0
  let height = 0
  let frames = 0

  /** Notes that the canvas is at least this large. */
  function canvas (atLeastWide: number, atLeastHigh: number, maxPixels = MAX_FRAME_PIXELS): void {
    width = Math.max(width, atLeastWide)
    height = Math.max(height, atLeastHigh)
    const pixels = width * height
    const isTooLarge = Math.max(width, height) > MAX_SIDE || pixels > maxPixels || pixels * frames > MAX_PIXELS
    if (isTooLarge) throw damagedImage()
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
