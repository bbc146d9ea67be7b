import type { Frames } from './fit-frames.js'
import { writeGif, type GifOptions } from './gif-encoder.js'
import { chosenColors, errorOf, ownColors, type Palette } from './palette.js'

/** What a GIF is: its bytes, and what they say. */
export interface MadeGif { bytes: Buffer, frames: number, duration_ms: number }

/** One way to make it: how many colours each palette has, of how many frames, and what is tolerated. */
interface Setting { colors: number, tolerance: number, palettes: 'one' | 'each' }

/** What came of a setting; `error` is the sum of the squares of what a frame is off by. */
interface Attempt { gif: MadeGif, colors: number, error: number }

const MAX_COLORS = 255
/** About the distance from one of so many colours to the next. */
const spacing = (colors: number) => Math.round(250 / Math.cbrt(colors))
const COLORS = [
  192, 160, 128, 96, 80, 64, 56, 48, 40, 32, 28, 24, 22, 20, 18, 16, 14, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2
]

/** From the best to the smallest; `share` is about what is left of the bytes of the first. */
const RUNGS = [
  { colors: MAX_COLORS, tolerance: 6, share: 1 },
  { colors: MAX_COLORS, tolerance: 20, share: 0.95 },
  ...COLORS.map(colors => (
    { colors, tolerance: Math.round(0.45 * spacing(colors)), share: (Math.log2(colors) / 8) ** 1.2 }
  ))
]
/** By how much the bytes grow about, when each part of the frames has a palette of its own. */
const MORE_PALETTES = [{ parts: 8, growth: 2.6 }, { parts: 4, growth: 2.1 }, { parts: 2, growth: 1.6 }]
/** The mean of the squares of a palette's errors that nobody sees. */
const FINE = 10
/** With fewer, one colour more is worth a larger error. */
const FEW_COLORS = 8
const MAX_TRIES = 8
/** Beyond so many pixels of all frames, less is tried: it would take seconds. */
const MANY_PIXELS = 2_500_000
/** How many pixels of a frame its own palette is chosen by. */
const FRAME_SAMPLE = 1024
const MAX_CS = 0xffff

/**
 * A GIF of these frames in at most `maxBytes` that loops for ever, as good as fits: with the colours it has, where they
 * are few; else with several palettes or one, then with fewer colours, and with an error that is tolerated.
 * Every frame stays, with its time to within half a hundredth of a second from the start (a hundredth at the least,
 * 655.35 s at the most). Only when not even two colours fit, 2, 4, 8 … neighbours become one, which has their time.
 * What does not fit as one frame of two colours comes as that.
 */
export function makeRendition (frames: Frames, delays: number[], maxBytes: number): MadeGif {
  const fits = ({ bytes }: MadeGif) => bytes.length <= maxBytes
  const own = ownColors(frames.data, MAX_COLORS)
  const exact = own && attempt([own], { tolerance: 0 })
  if (exact && fits(exact)) return exact
  const general = chosenColors(frames.data, MAX_COLORS)
  const first = attempt([general], RUNGS[0]!)
  if (fits(first)) return withMorePalettes(first)
  const smallerExact = own && attempt([own], { tolerance: 0, thorough: true })
  if (smallerExact && fits(smallerExact)) return smallerExact
  for (let merged = 1; ; merged *= 2) {
    const smallest = measured({ ...RUNGS.at(-1)!, palettes: 'one' }, merged)
    if (fits(smallest.gif)) return best(merged, smallest)
    if (merged >= frames.count) return smallest.gif
  }

  /**
   * The best rung that fits; or the same with a palette for each frame; or, where the colours are few, more of them
   * with a tolerance that makes long runs. Of those that fit, the one with the most colours is taken whose error is not
   * much more than the least.
   */
  function best (merged: number, smallest: Attempt): MadeGif {
    const onRung = bestRung(merged, smallest)
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

  /** Goes by the bytes of what was tried last, and then from one rung to the next. */
  function bestRung (merged: number, smallest: Attempt): Attempt {
    let found = smallest
    let low = 0
    let high = RUNGS.length - 1
    const least = smallest.gif.bytes.length
    let share = RUNGS.at(-1)!.share ** (1 - Math.log(maxBytes / least) / Math.log(first.bytes.length / merged / least))
    for (let tries = 0; low < high && tries < MAX_TRIES; tries++) {
      const expected = RUNGS.findIndex(rung => rung.share <= share)
      const probe = expected < 0 ? high - 1 : Math.max(low, Math.min(expected, high - 1))
      const made = measured({ ...RUNGS[probe]!, palettes: 'one' }, merged)
      if (fits(made.gif)) {
        found = made
        high = probe
      } else {
        low = probe + 1
      }
      share = RUNGS[probe]!.share * maxBytes / made.gif.bytes.length
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
      ? palettesOf(frames.count, colors, FRAME_SAMPLE)
      : [colors === MAX_COLORS ? general : chosenColors(frames.data, colors)]
    const gif = attempt(chosen, { tolerance, thorough: true, onFrame }, merged)
    return { gif, colors, error: squares / gif.frames }
  }

  /** Where one palette for all frames is too few colours: one for each part of them, as many as there is room for. */
  function withMorePalettes (first: MadeGif): MadeGif {
    const room = maxBytes / first.bytes.length
    const parts = Math.min(frames.count, MORE_PALETTES.find(({ growth }) => growth <= room)?.parts ?? 1)
    if (parts === 1 || errorOf(general, frames.data) <= FINE) return first
    const made = attempt(palettesOf(parts, MAX_COLORS), RUNGS[0]!)
    return fits(made) ? made : first
  }

  function palettesOf (parts: number, colors: number, sample?: number): Palette[] {
    const size = frames.data.length / frames.count
    const start = (part: number) => Math.ceil(part * frames.count / parts) * size
    const dataOf = (part: number) => frames.data.subarray(start(part), start(part + 1))
    return Array.from({ length: parts }, (_, part) => chosenColors(dataOf(part), colors, sample))
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
 * Rounded where a frame ends, not how long it lasts, so that errors do not add up; no frame ends with the one before,
 * if there is time enough for that.
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
