import type { Frames } from './fit-frames.js'
import { writeGif, type GifOptions } from './gif-encoder.js'
import { chosenColors, histogramOf, ownColors, type Palette } from './palette.js'

/** The bytes of a GIF, and its facts. */
export interface MadeGif { bytes: Buffer, frames: number, duration_ms: number }

/**
 * One way to make it: the colours of each palette, the tolerated error, and one palette for all frames or one for each.
 */
interface Setting { colors: number, tolerance: number, palettes: 'one' | 'each' }

/** The result of a setting. `error` is the mean over the frames of the sum of squared errors. */
interface Attempt { gif: MadeGif, colors: number, error: number }

const MAX_COLORS = 255
/** The approximate distance between neighbours of this many colours. */
const spacing = (colors: number) => Math.round(250 / Math.cbrt(colors))
const COLORS = [
  192, 160, 128, 96, 80, 64, 56, 48, 40, 32, 28, 24, 22, 20, 18, 16, 14, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2
]

/** From the best to the smallest. `share` is the approximate part of the first one's bytes. */
const QUALITY_LEVELS = [
  { colors: MAX_COLORS, tolerance: 7, share: 1 },
  { colors: MAX_COLORS, tolerance: 20, share: 0.95 },
  ...COLORS.map(colors => (
    { colors, tolerance: Math.round(0.45 * spacing(colors)), share: (Math.log2(colors) / 8) ** 1.2 }
  ))
]
/** The approximate growth of the bytes if each part of the frames has its own palette. */
const MORE_PALETTES = [{ parts: 8, growth: 2.6 }, { parts: 4, growth: 2.1 }, { parts: 2, growth: 1.6 }]
/** The mean of a palette's squared errors that cannot be seen. */
const FINE = 10
/** Below this, one more colour is worth a larger error. */
const FEW_COLORS = 8
const MAX_TRIES = 8
/** Above this number of pixels in all frames fewer settings are tried, which would take seconds. */
const MANY_PIXELS = 2_500_000
const MAX_CS = 0xffff

/**
 * Makes a GIF of these frames that loops for ever, the best that fits into `maxBytes`. It keeps the exact colours if
 * they are few. Else it uses several palettes or one, then fewer colours and a tolerated error. Every frame stays, and
 * its time is exact to half a hundredth of a second from the start (at least a hundredth, at most 655.35 s). Only if
 * not even two colours fit, 2, 4, 8 … neighbours become one with their time. If even one frame of two colours does not
 * fit, that is returned.
 */
export function makeRendition (frames: Frames, delays: number[], maxBytes: number): MadeGif {
  const fits = ({ bytes }: MadeGif) => bytes.length <= maxBytes
  const own = ownColors(frames.data, MAX_COLORS)
  const exact = own && attempt([own], { tolerance: 0 })
  if (exact && fits(exact)) return exact
  const histogram = histogramOf(frames.data)
  const general = chosenColors(histogram, MAX_COLORS)
  const first = attempt([general], QUALITY_LEVELS[0]!)
  if (fits(first)) return withMorePalettes(first)
  const smallerExact = own && attempt([own], { tolerance: 0, thorough: true })
  if (smallerExact && fits(smallerExact)) return smallerExact
  for (let merged = 1; ; merged *= 2) {
    const smallest = measured({ ...QUALITY_LEVELS.at(-1)!, palettes: 'one' }, merged)
    if (fits(smallest.gif)) return best(merged, smallest)
    if (merged >= frames.count) return smallest.gif
  }

  /**
   * Tries the best level that fits, the same with a palette for each frame, and, if the colours are few, more of them
   * with a tolerance that makes long runs. Of those that fit, returns the one with the most colours whose error is not
   * much more than the least.
   */
  function best (merged: number, smallest: Attempt): MadeGif {
    const onRung = bestLevel(merged, smallest)
    const { colors } = onRung
    if (frames.data.length / 3 / merged > MANY_PIXELS) return onRung.gif
    const few = colors < FEW_COLORS
    const fitting = [
      onRung,
      ...whileFitting([{ colors, tolerance: 0, palettes: 'each' }], merged),
      ...(few ? withRuns(colors, 'one', merged) : []),
      ...(few ? withRuns(colors, 'each', merged) : [])
    ]
    const max = Math.min(...fitting.map(({ error }) => error)) * (few ? 1.7 : 1.2)
    return fitting.filter(({ error }) => error <= max).reduce((a, b) => b.colors > a.colors ? b : a).gif
  }

  function withRuns (colors: number, palettes: Setting['palettes'], merged: number): Attempt[] {
    const settings = [2, 3, 4].map(times => ({ colors: times * colors, tolerance: spacing(times * colors), palettes }))
    return whileFitting(settings, merged)
  }

  function whileFitting (settings: Setting[], merged: number): Attempt[] {
    const fitting: Attempt[] = []
    for (const setting of settings) {
      if (setting.colors > MAX_COLORS) break
      const made = measured(setting, merged)
      if (!fits(made.gif)) break
      fitting.push(made)
    }
    return fitting
  }

  /** Estimates the next level from the bytes of the last try. */
  function bestLevel (merged: number, smallest: Attempt): Attempt {
    let found = smallest
    let low = 0
    let high = QUALITY_LEVELS.length - 1
    const least = smallest.gif.bytes.length
    const needed = Math.log(maxBytes / least) / Math.log(first.bytes.length / merged / least)
    let share = QUALITY_LEVELS.at(-1)!.share ** (1 - needed)
    for (let tries = 0; low < high && tries < MAX_TRIES; tries++) {
      const expected = QUALITY_LEVELS.findIndex(level => level.share <= share)
      const probe = expected < 0 ? high - 1 : Math.max(low, Math.min(expected, high - 1))
      const made = measured({ ...QUALITY_LEVELS[probe]!, palettes: 'one' }, merged)
      if (fits(made.gif)) {
        found = made
        high = probe
      } else {
        low = probe + 1
      }
      share = QUALITY_LEVELS[probe]!.share * maxBytes / made.gif.bytes.length
    }
    return found
  }

  function measured ({ colors, tolerance, palettes }: Setting, merged: number): Attempt {
    let squares = 0
    const onFrame = (screen: Uint8Array, i: number) => {
      const from = i * merged * screen.length
      for (let at = 0; at < screen.length; at++) squares += (screen[at]! - frames.data[from + at]!) ** 2
    }
    const chosen = palettes === 'each'
      ? palettesOf(frames.count, colors)
      : [colors === MAX_COLORS ? general : chosenColors(histogram, colors)]
    const gif = attempt(chosen, { tolerance, thorough: true, onFrame }, merged)
    return { gif, colors, error: squares / gif.frames }
  }

  /** If one palette has too few colours for all frames: makes one for each part, as many as fit. */
  function withMorePalettes (first: MadeGif): MadeGif {
    const room = maxBytes / first.bytes.length
    const parts = Math.min(frames.count, MORE_PALETTES.find(({ growth }) => growth <= room)?.parts ?? 1)
    if (parts === 1 || general.error <= FINE) return first
    const made = attempt(palettesOf(parts, MAX_COLORS), QUALITY_LEVELS[0]!)
    return fits(made) ? made : first
  }

  function palettesOf (parts: number, colors: number): Palette[] {
    const size = frames.data.length / frames.count
    const start = (part: number) => Math.ceil(part * frames.count / parts) * size
    const dataOf = (part: number) => frames.data.subarray(start(part), start(part + 1))
    return Array.from({ length: parts }, (_, part) => chosenColors(histogramOf(dataOf(part)), colors))
  }

  function attempt (palettes: Palette[], options: GifOptions, merged = 1): MadeGif {
    const { width, height, count, data } = frames
    const size = width * height * 3
    const kept = Array.from({ length: Math.ceil(count / merged) }, (_, i) => i * merged)
    const times = centiseconds(kept.map(k => delays.slice(k, k + merged).reduce((a, b) => a + b, 0)))
    const drawn = kept.map((k, i) => {
      const { colors, indicesOf } = palettes[Math.floor(k * palettes.length / count)]!
      return { indices: indicesOf(data.subarray(k * size, (k + 1) * size)), colors, delayCs: times[i]! }
    })
    const bytes = writeGif({ width, height, frames: drawn }, options)
    return { bytes, frames: drawn.length, duration_ms: times.reduce((a, b) => a + b, 0) * 10 }
  }
}

/**
 * Rounds the end of each frame, not its length, so that errors do not add up. Each frame gets at least a hundredth of a
 * second, if the total allows it.
 */
function centiseconds (delays: number[]): number[] {
  const total = Math.round(delays.reduce((a, b) => a + b, 0) / 10)
  if (total === 0) return delays.map(() => delays.length > 1 ? 1 : 0)
  let ms = 0
  let last = 0
  return delays.map((delay, i) => {
    ms += delay
    const end = Math.max(last + 1, Math.min(Math.round(ms / 10), total - (delays.length - 1 - i)))
    const time = Math.min(end - last, MAX_CS)
    last = end
    return time
  })
}
