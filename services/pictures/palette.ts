/** Bits of each channel in a histogram. */
const BITS = 5
const DROP = 8 - BITS
const CELLS = 1 << (3 * BITS)
/** About this many pixels are counted, or three times as many. */
const MANY_PIXELS = 1 << 18
const UNKNOWN = 0xffff

/** Colours as RGB triples, and the index of the colour for each pixel. */
export interface Palette { colors: Uint8Array, indicesOf: (pixels: Uint8Array) => Uint8Array }

/** `error` is the mean of the squared errors of all channels. */
export interface ChosenPalette extends Palette { error: number }

/** The exact colours of the pixels if there are at most `max`, else undefined. */
export function ownColors (data: Uint8Array, max: number): Palette | undefined {
  const indexOf = new Map<number, number>()
  let last = -1
  for (let at = 0; at < data.length; at += 3) {
    const color = colorAt(data, at)
    if (color === last || indexOf.has(color)) continue
    if (indexOf.size === max) return undefined
    indexOf.set(last = color, indexOf.size)
  }
  const colors = Uint8Array.from([...indexOf.keys()].flatMap(color => [color >> 16, (color >> 8) & 0xff, color & 0xff]))
  return { colors, indicesOf }

  function indicesOf (pixels: Uint8Array): Uint8Array {
    const indices = new Uint8Array(pixels.length / 3)
    for (let i = 0; i < indices.length; i++) indices[i] = indexOf.get(colorAt(pixels, i * 3))!
    return indices
  }
}

const colorAt = (data: Uint8Array, at: number) => data[at]! << 16 | data[at + 1]! << 8 | data[at + 2]!

/**
 * The cells of the colour cube that have pixels: for each its number, its mean colour, how many pixels it has, and the
 * sum of their squared deviations. `black`: some pixel is exactly black.
 */
export interface Histogram {
  cells: Uint16Array
  means: Float32Array
  counts: Float32Array
  deviations: number
  pixels: number
  black: boolean
}

/** Counts the pixels by the upper bits of their channels: all, or every nth if they are many. */
export function histogramOf (data: Uint8Array): Histogram {
  const step = Math.floor(data.length / 3 / MANY_PIXELS) * 2 + 1 // odd, so that it meets every column
  const places = new Uint16Array(CELLS) // 0: no pixel yet
  const cells = new Uint16Array(Math.min(CELLS, data.length / 3))
  let found = 0
  let black = false
  const sums = new Float64Array(cells.length * 4)
  let squares = 0
  for (let at = 0; at < data.length; at += step * 3) {
    const red = data[at]!
    const green = data[at + 1]!
    const blue = data[at + 2]!
    const cell = red >> DROP << (2 * BITS) | green >> DROP << BITS | blue >> DROP
    let place = places[cell]!
    if (place === 0) {
      cells[found] = cell
      places[cell] = place = ++found
    }
    if (cell === 0 && (red | green | blue) === 0) black = true
    const to = (place - 1) * 4
    sums[to]! += red
    sums[to + 1]! += green
    sums[to + 2]! += blue
    sums[to + 3]!++
    squares += red * red + green * green + blue * blue
  }
  const means = new Float32Array(found * 3)
  const counts = new Float32Array(found)
  for (let i = 0; i < found; i++) {
    const count = counts[i] = sums[i * 4 + 3]!
    for (let c = 0; c < 3; c++) {
      const sum = sums[i * 4 + c]!
      means[i * 3 + c] = sum / count
      squares -= sum * sum / count
    }
  }
  const deviations = Math.max(0, squares)
  return { cells: cells.slice(0, found), means, counts, deviations, pixels: Math.ceil(data.length / 3 / step), black }
}

/**
 * Chooses at most `max` colours for the pixels of a histogram: cuts the set with the largest squared deviations in one
 * channel at its mean, again and again (Wan, Wong and Prusinkiewicz 1988, on a histogram). Each cell gets the nearest
 * colour, one without counted pixels when the first comes. Black stays exactly black, because it frames the picture.
 */
export function chosenColors (histogram: Histogram, max: number): ChosenPalette {
  const { cells, means, counts, deviations, pixels, black } = histogram
  const sets = [setOf(histogram, Uint16Array.from(cells.keys()))]
  while (sets.length < (black ? max - 1 : max)) {
    let widest = 0
    for (let i = 1; i < sets.length; i++) if (sets[i]!.unevenness > sets[widest]!.unevenness) widest = i
    const { places, channel, mean, unevenness } = sets[widest]!
    if (unevenness === 0) break
    const above = partition(places, means, channel, mean[channel]!)
    sets[widest] = setOf(histogram, places.subarray(0, above))
    sets.push(setOf(histogram, places.subarray(above)))
  }
  const chosen = sets.map(({ mean }) => mean.map(Math.round))
  if (black) chosen.push([0, 0, 0])
  const colors = Uint8Array.from(chosen.sort((a, b) => a[1]! - b[1]!).flat())
  const nearest = createNearest(colors)
  const indices = new Uint16Array(CELLS).fill(UNKNOWN)
  let squares = deviations
  for (let i = 0; i < cells.length; i++) {
    const [red, green, blue] = [means[i * 3]!, means[i * 3 + 1]!, means[i * 3 + 2]!]
    const index = black && cells[i] === 0 ? nearest(0, 0, 0) : nearest(red, green, blue)
    indices[cells[i]!] = index
    const at = index * 3
    squares += counts[i]! * ((colors[at]! - red) ** 2 + (colors[at + 1]! - green) ** 2 + (colors[at + 2]! - blue) ** 2)
  }
  return { colors, error: squares / pixels / 3, indicesOf: data => lookUp(data, indices, nearest) }
}

/** Finds the index of each pixel by its cell, and fills the table where a cell is unknown. */
function lookUp (data: Uint8Array, indices: Uint16Array, nearest: ReturnType<typeof createNearest>): Uint8Array {
  const result = new Uint8Array(data.length / 3)
  for (let i = 0, at = 0; i < result.length; i++, at += 3) {
    const cell = data[at]! >> DROP << (2 * BITS) | data[at + 1]! >> DROP << BITS | data[at + 2]! >> DROP
    if (indices[cell] === UNKNOWN) indices[cell] = nearest(data[at]!, data[at + 1]!, data[at + 2]!)
    result[i] = indices[cell]!
  }
  return result
}

/** Some cells: their mean, the channel that varies most, and the sum of the squared deviations in it. */
interface CellSet { places: Uint16Array, mean: number[], channel: number, unevenness: number }

function setOf ({ means, counts }: Histogram, places: Uint16Array): CellSet {
  let count = 0
  let [red, green, blue, reds, greens, blues] = [0, 0, 0, 0, 0, 0]
  for (let i = 0; i < places.length; i++) {
    const place = places[i]!
    const weight = counts[place]!
    const [r, g, b] = [means[place * 3]!, means[place * 3 + 1]!, means[place * 3 + 2]!]
    count += weight
    red += weight * r
    green += weight * g
    blue += weight * b
    reds += weight * r * r
    greens += weight * g * g
    blues += weight * b * b
  }
  const spread = [reds - red * red / count, greens - green * green / count, blues - blue * blue / count]
  const unevenness = Math.max(...spread)
  const isCuttable = places.length > 1 && unevenness >= 0.5
  return {
    places,
    mean: [red / count, green / count, blue / count],
    channel: spread.indexOf(unevenness),
    unevenness: isCuttable ? unevenness : 0
  }
}

/** Moves places whose channel is not above `limit` to the front, and returns their number. */
function partition (places: Uint16Array, means: Float32Array, channel: number, limit: number): number {
  let end = places.length
  for (let i = 0; i < end;) {
    const place = places[i]!
    if (means[place * 3 + channel]! > limit) {
      places[i] = places[--end]!
      places[end] = place
    } else {
      i++
    }
  }
  return end
}

/** Finds the nearest of some colours, which are sorted by green: searches from there up and down. */
function createNearest (colors: Uint8Array) {
  const count = colors.length / 3
  const starts = new Uint8Array(256)
  for (let green = 0, i = 0; green < 256; green++) {
    while (i < count - 1 && colors[i * 3 + 1]! < green) i++
    starts[green] = i
  }
  return function nearest (red: number, green: number, blue: number): number {
    let up = starts[Math.round(green)]!
    let down = up - 1
    let best = up
    let least = Infinity
    while (up < count || down >= 0) {
      if (up < count) {
        const off = colors[up * 3 + 1]! - green
        const error = off * off + (colors[up * 3]! - red) ** 2 + (colors[up * 3 + 2]! - blue) ** 2
        if (error < least) [least, best] = [error, up]
        up = off > 0 && off * off >= least ? count : up + 1
      }
      if (down >= 0) {
        const off = colors[down * 3 + 1]! - green
        const error = off * off + (colors[down * 3]! - red) ** 2 + (colors[down * 3 + 2]! - blue) ** 2
        if (error < least) [least, best] = [error, down]
        down = off < 0 && off * off >= least ? -1 : down - 1
      }
    }
    return best
  }
}
