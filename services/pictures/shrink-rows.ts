interface Size { width: number, height: number }

/** Pixels from `left` and `top` to before `right` and `bottom`. */
export interface Area { left: number, top: number, right: number, bottom: number }

/**
 * For each output pixel of a row or column: the first and the last input that it covers, and the covered share of both.
 */
interface Spans { first: Int32Array, last: Int32Array, firstShare: Float64Array, lastShare: Float64Array }

/**
 * Shrinks frames of one size by the mean of an area. The returned function redraws only the pixels of `out` that depend
 * on an area of the input, because often little of an animation changes.
 */
export function createShrink (from: Size, to: Size) {
  const columns = spans(from.width, to.width)
  const rows = spans(from.height, to.height)
  const area = (from.width / to.width) * (from.height / to.height)
  const sums = new Float64Array(from.width * 3)

  return function shrink (input: Uint8Array, out: Uint8Array, { left, top, right, bottom }: Area): void {
    const [start, end] = reached(top, bottom, from.height, to.height)
    const [begin, stop] = reached(left, right, from.width, to.width)
    if (begin >= stop) return
    for (let y = start; y < end; y++) {
      addRows(input, from.width * 3, rows, y, sums, columns.first[begin]! * 3, (columns.last[stop - 1]! + 1) * 3)
      addColumns(sums, columns, begin, stop, area, out, y * to.width * 3)
    }
  }
}

/** Adds the input rows of an output row, from a sample to before another. */
function addRows (
  input: Uint8Array,
  rowSamples: number,
  { first, last, firstShare, lastShare }: Spans,
  y: number,
  sums: Float64Array,
  start: number,
  end: number
): void {
  sums.fill(0, start, end)
  for (let row = first[y]!; row <= last[y]!; row++) {
    const share = row === first[y] ? firstShare[y]! : row === last[y] ? lastShare[y]! : 1
    const offset = row * rowSamples
    for (let i = start; i < end; i++) sums[i]! += input[offset + i]! * share
  }
}

/** Adds the columns of output pixels of a row, from `begin` to before `stop`, and divides them by their area. */
function addColumns (
  sums: Float64Array,
  { first, last, firstShare, lastShare }: Spans,
  begin: number,
  stop: number,
  area: number,
  out: Uint8Array,
  row: number
): void {
  for (let x = begin, to = row + begin * 3; x < stop; x++, to += 3) {
    const end = last[x]! * 3
    let at = first[x]! * 3
    let weight = firstShare[x]!
    let red = sums[at]! * weight
    let green = sums[at + 1]! * weight
    let blue = sums[at + 2]! * weight
    for (at += 3; at <= end; at += 3) {
      weight = at === end ? lastShare[x]! : 1
      red += sums[at]! * weight
      green += sums[at + 1]! * weight
      blue += sums[at + 2]! * weight
    }
    out[to] = Math.round(red / area)
    out[to + 1] = Math.round(green / area)
    out[to + 2] = Math.round(blue / area)
  }
}

/** The outputs that depend on the inputs from `start` to before `end`. */
const reached = (start: number, end: number, inputs: number, outputs: number) => [
  Math.floor(start * outputs / inputs),
  Math.min(outputs, Math.ceil(end * outputs / inputs))
] as const

function spans (input: number, output: number): Spans {
  const step = input / output
  const first = Int32Array.from({ length: output }, (_, i) => Math.floor(i * step))
  const last = Int32Array.from({ length: output }, (_, i) =>
    Math.min(input, Math.max(first[i]! + 1, Math.ceil((i + 1) * step - 1e-9))) - 1)
  return {
    first,
    last,
    firstShare: Float64Array.from({ length: output }, (_, i) => Math.min((i + 1) * step, first[i]! + 1) - i * step),
    lastShare: Float64Array.from({ length: output }, (_, i) => (i + 1) * step - last[i]!)
  }
}
