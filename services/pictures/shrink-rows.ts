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
  const sums = new Float64Array(to.width * 3)

  return function shrink (input: Uint8Array, out: Uint8Array, { left, top, right, bottom }: Area): void {
    const [start, end] = reached(top, bottom, from.height, to.height)
    const [begin, stop] = reached(left, right, from.width, to.width)
    for (let y = start; y < end; y++) {
      sums.fill(0, begin * 3, stop * 3)
      for (let row = rows.first[y]!; row <= rows.last[y]!; row++) {
        const share = row === rows.first[y] ? rows.firstShare[y]! : row === rows.last[y] ? rows.lastShare[y]! : 1
        addRow(input, row * from.width, share, begin, stop)
      }
      for (let i = begin * 3, at = y * sums.length + i; i < stop * 3; i++, at++) out[at] = Math.round(sums[i]! / area)
    }
  }

  function addRow (input: Uint8Array, row: number, share: number, begin: number, stop: number): void {
    for (let x = begin; x < stop; x++) {
      const first = columns.first[x]!
      const last = columns.last[x]!
      let at = (row + first) * 3
      let weight = columns.firstShare[x]!
      let red = input[at]! * weight
      let green = input[at + 1]! * weight
      let blue = input[at + 2]! * weight
      for (let i = first + 1; i < last; i++) {
        at += 3
        red += input[at]!
        green += input[at + 1]!
        blue += input[at + 2]!
      }
      if (last > first) {
        at += 3
        weight = columns.lastShare[x]!
        red += input[at]! * weight
        green += input[at + 1]! * weight
        blue += input[at + 2]! * weight
      }
      sums[x * 3]! += red * share
      sums[x * 3 + 1]! += green * share
      sums[x * 3 + 2]! += blue * share
    }
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
