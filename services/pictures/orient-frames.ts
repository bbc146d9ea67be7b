import type { Frames } from './fit-frames.js'

/**
 * The source index of an upright frame's first pixel, and the steps to the sources of its neighbours in a row and in a
 * column.
 */
type Way = (width: number, height: number) => [start: number, column: number, row: number]

/** By the orientations of Exif 2.3 §4.6.4; 1 is upright. */
const WAYS: Record<number, Way> = {
  2: width => [width - 1, -1, width],
  3: (width, height) => [width * height - 1, -1, -width],
  4: (width, height) => [width * (height - 1), 1, -width],
  5: width => [0, width, 1],
  6: (width, height) => [width * (height - 1), -width, 1],
  7: (width, height) => [width * height - 1, -width, -1],
  8: width => [width - 1, width, -1]
}

/** Whether width and height are swapped. */
export const isTurned = (orientation: number) => orientation >= 5 && orientation <= 8

/** Turns each frame upright. Returns `frames` itself if they are upright. */
export function orientFrames (frames: Frames, orientation: number): Frames {
  const way = WAYS[orientation]
  if (!way) return frames
  const { width: storedWidth, height: storedHeight, count, data } = frames
  const [start, column, row] = way(storedWidth, storedHeight)
  const [width, height] = isTurned(orientation) ? [storedHeight, storedWidth] : [storedWidth, storedHeight]
  const seen = new Uint8Array(data.length)
  for (let k = 0, to = 0; k < count; k++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, to += 3) {
        const from = (k * width * height + start + x * column + y * row) * 3
        seen[to] = data[from]!
        seen[to + 1] = data[from + 1]!
        seen[to + 2] = data[from + 2]!
      }
    }
  }
  return { width, height, count, data: seen }
}
