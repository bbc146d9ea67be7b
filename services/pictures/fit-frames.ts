import type { Fit } from '../../schemas/library.js'

/** Pictures of one size, one after another, three bytes a pixel. */
export interface Frames { width: number, height: number, count: number, data: Uint8Array }

interface Size { width: number, height: number }

/**
 * The source of each pixel of a row or column: pixel `from + i` is the sum of the inputs `taps[i].at`, weighted. Pixels
 * outside `from` to `to` stay black.
 */
interface Axis { from: number, to: number, taps: Array<{ at: Int32Array, weights: Float32Array }> }

/** The size at which the whole picture is drawn to fit into `box`, before anything is cut off. At least one pixel. */
export function drawnSize ({ width, height }: Size, box: Size, fit: Fit): Size {
  if (fit === 'fill') return box
  const scale = (fit === 'contain' ? Math.min : Math.max)(box.width / width, box.height / height)
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) }
}

/**
 * Draws every frame on a black picture of the size of `box`: whole and centred (contain), cut to fill it (cover), or
 * stretched to fill it (fill). `original` is the size of the frames before decoding reduced it. Shrinks by the mean of
 * an area. Enlarges by repetition if the factor is whole, else linearly. Frames that have the drawn size already are
 * only placed.
 */
export function fitFrames (frames: Frames, original: Size, box: Size, fit: Fit): Frames {
  const drawn = drawnSize(original, box, fit)
  if (frames.width === drawn.width && frames.height === drawn.height) return placeFrames(frames, box)
  const columns = axis(frames.width, original.width, drawn.width, box.width)
  const rows = axis(frames.height, original.height, drawn.height, box.height)
  const data = new Uint8Array(box.width * box.height * 3 * frames.count)
  const narrow = new Float32Array(frames.height * box.width * 3)
  for (let k = 0; k < frames.count; k++) {
    narrowRows(frames, k, columns, box.width, narrow)
    drawRows(narrow, rows, columns, box.width, data.subarray(k * box.width * box.height * 3))
  }
  return { ...box, count: frames.count, data }
}

/** Centres each frame in the box. What lies beyond is cut off. */
function placeFrames ({ width, height, count, data }: Frames, box: Size): Frames {
  if (width === box.width && height === box.height) return { width, height, count, data }
  const [left, top] = [Math.floor((box.width - width) / 2), Math.floor((box.height - height) / 2)]
  const row = Math.min(width, box.width) * 3
  const placed = new Uint8Array(box.width * box.height * 3 * count)
  for (let k = 0; k < count; k++) {
    for (let y = Math.max(0, top); y < Math.min(box.height, top + height); y++) {
      const from = ((k * height + y - top) * width + Math.max(0, -left)) * 3
      placed.set(data.subarray(from, from + row), ((k * box.height + y) * box.width + Math.max(0, left)) * 3)
    }
  }
  return { ...box, count, data: placed }
}

function axis (input: number, original: number, drawn: number, box: number): Axis {
  const from = Math.max(0, Math.floor((box - drawn) / 2))
  const to = Math.min(box, from + drawn)
  const cut = Math.max(0, (drawn - box) / 2)
  const step = input / drawn
  const crisp = drawn % original === 0
  const within = (at: number) => Math.min(Math.max(at, 0), input - 1)
  const taps = Array.from({ length: to - from }, (_, i) => {
    const start = (cut + i) * step
    const middle = start + step / 2
    const reach = step >= 1
      ? [start, start + step] as const
      : crisp ? [middle, middle] as const : [middle - 0.5, middle + 0.5] as const
    return tap(reach[0], reach[1], within)
  })
  return { from, to, taps }
}

/** The mean of the pixels between two places, weighted by the part of each. */
function tap (start: number, end: number, within: (at: number) => number): Axis['taps'][number] {
  const first = Math.floor(start)
  const count = Math.max(1, Math.ceil(end - 1e-6) - first)
  const at = Int32Array.from({ length: count }, (_, i) => within(first + i))
  if (end === start) return { at, weights: Float32Array.of(1) }
  const weights = Float32Array.from({ length: count }, (_, i) =>
    (Math.min(end, first + i + 1) - Math.max(start, first + i)) / (end - start))
  return { at, weights }
}

function narrowRows (
  { width, height, data }: Frames,
  k: number,
  { from, taps }: Axis,
  boxWidth: number,
  out: Float32Array
): void {
  for (let y = 0; y < height; y++) {
    const row = (k * height + y) * width
    for (let x = 0, to = (y * boxWidth + from) * 3; x < taps.length; x++, to += 3) {
      const { at, weights } = taps[x]!
      let red = 0
      let green = 0
      let blue = 0
      for (let i = 0; i < at.length; i++) {
        const pixel = (row + at[i]!) * 3
        const weight = weights[i]!
        red += data[pixel]! * weight
        green += data[pixel + 1]! * weight
        blue += data[pixel + 2]! * weight
      }
      out[to] = red
      out[to + 1] = green
      out[to + 2] = blue
    }
  }
}

function drawRows (
  narrow: Float32Array,
  { from: top, taps }: Axis,
  { from, to }: Axis,
  boxWidth: number,
  out: Uint8Array
): void {
  for (let y = 0; y < taps.length; y++) {
    const { at, weights } = taps[y]!
    for (let x = from * 3; x < to * 3; x++) {
      let sum = 0
      for (let i = 0; i < at.length; i++) sum += narrow[at[i]! * boxWidth * 3 + x]! * weights[i]!
      out[(top + y) * boxWidth * 3 + x] = Math.round(sum)
    }
  }
}
