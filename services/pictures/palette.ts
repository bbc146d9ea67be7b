/** Pixels that a palette is chosen from. More take longer and give no better one. */
const SAMPLE = 32 * 1024
/** Bits of each channel in the lookup of the nearest colour. */
const BITS = 5
const UNKNOWN = 0xffff

/** Colours as RGB triples, and the index of the colour for each pixel. */
export interface Palette { colors: Uint8Array, indicesOf: (pixels: Uint8Array) => Uint8Array }

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
  return { colors, indicesOf: pixels => eachPixel(pixels, at => indexOf.get(colorAt(pixels, at))!) }
}

/**
 * Chooses at most `max` colours for the pixels: cuts the most uneven set in two at its mean, again and again. Each
 * pixel gets approximately the nearest colour.
 */
export function chosenColors (data: Uint8Array, max: number, sample = SAMPLE): Palette {
  const pixels = data.length / 3
  const count = Math.min(pixels, sample)
  const sets = [measured(data, Int32Array.from({ length: count }, (_, i) => Math.floor(i * pixels / count) * 3))]
  const black = blackIn(data) // black frames the picture, and must stay exactly black
  while (sets.length < (black ? max - 1 : max)) {
    const widest = sets.reduce((a, b) => b.unevenness > a.unevenness ? b : a)
    if (widest.unevenness === 0) break
    const { places, channel, mean } = widest
    const above = partition(places, at => data[at + channel]! > mean[channel]!)
    sets[sets.indexOf(widest)] = measured(data, places.subarray(0, above))
    sets.push(measured(data, places.subarray(above)))
  }
  const colors = Uint8Array.from([...sets.flatMap(({ mean }) => mean.map(Math.round)), ...(black ? [0, 0, 0] : [])])
  return { colors, indicesOf: nearestIn(colors) }
}

function blackIn (data: Uint8Array): boolean {
  for (let at = 0; at < data.length; at += 3) {
    if (data[at] === 0 && data[at + 1] === 0 && data[at + 2] === 0) return true
  }
  return false
}

/** The mean of the squared errors of a palette, over a sample of the pixels. */
export function errorOf ({ colors, indicesOf }: Palette, data: Uint8Array): number {
  const step = Math.max(1, Math.floor(data.length / 3 / SAMPLE))
  const sample = Uint8Array.from({ length: Math.floor(data.length / 3 / step) * 3 }, (_, i) =>
    data[Math.floor(i / 3) * step * 3 + i % 3]!)
  const indices = indicesOf(sample)
  return sample.reduce(
    (sum, value, i) => sum + (value - colors[indices[Math.floor(i / 3)]! * 3 + i % 3]!) ** 2,
    0
  ) / sample.length
}

/**
 * Measures the colours at some places of the data: their mean, the channel that varies most, and the sum of the squared
 * deviations in it.
 */
function measured (data: Uint8Array, places: Int32Array) {
  const sums = [0, 0, 0]
  const squares = [0, 0, 0]
  for (let i = 0; i < places.length; i++) {
    for (let c = 0; c < 3; c++) {
      const value = data[places[i]! + c]!
      sums[c]! += value
      squares[c]! += value * value
    }
  }
  const mean = sums.map(sum => sum / places.length)
  const spread = squares.map((square, c) => Math.max(0, square - sums[c]! * mean[c]!))
  const unevenness = Math.max(...spread)
  return { places, mean, channel: spread.indexOf(unevenness), unevenness: unevenness < 0.5 ? 0 : unevenness }
}

/** Moves places that are not `above` to the front, and returns their number. */
function partition (places: Int32Array, above: (place: number) => boolean): number {
  let end = places.length
  for (let i = 0; i < end;) {
    const place = places[i]!
    if (above(place)) {
      places[i] = places[--end]!
      places[end] = place
    } else {
      i++
    }
  }
  return end
}

function nearestIn (colors: Uint8Array): Palette['indicesOf'] {
  const known = new Uint16Array(1 << (3 * BITS)).fill(UNKNOWN)
  const drop = 8 - BITS
  const half = 1 << drop >> 1
  const darkest = nearest(colors, 0, 0, 0)
  if (colors[darkest * 3] === 0 && colors[darkest * 3 + 1] === 0 && colors[darkest * 3 + 2] === 0) known[0] = darkest
  return pixels => eachPixel(pixels, at => {
    const red = pixels[at]! >> drop
    const green = pixels[at + 1]! >> drop
    const blue = pixels[at + 2]! >> drop
    const bin = red << (2 * BITS) | green << BITS | blue
    if (known[bin] === UNKNOWN) {
      known[bin] = nearest(colors, (red << drop) + half, (green << drop) + half, (blue << drop) + half)
    }
    return known[bin]!
  })
}

function nearest (colors: Uint8Array, red: number, green: number, blue: number): number {
  let best = 0
  let least = Infinity
  for (let i = 0, at = 0; at < colors.length; i++, at += 3) {
    const error = (colors[at]! - red) ** 2 + (colors[at + 1]! - green) ** 2 + (colors[at + 2]! - blue) ** 2
    if (error >= least) continue
    least = error
    best = i
  }
  return best
}

function eachPixel (pixels: Uint8Array, indexAt: (at: number) => number): Uint8Array {
  const indices = new Uint8Array(pixels.length / 3)
  for (let i = 0, at = 0; i < indices.length; i++, at += 3) indices[i] = indexAt(at)
  return indices
}

const colorAt = (data: Uint8Array, at: number) => data[at]! << 16 | data[at + 1]! << 8 | data[at + 2]!
