import type { Frames } from './fit-frames.js'
import { writeGif } from './gif-writer.js'
import { chosenColors, errorOf, ownColors, type Palette } from './palette.js'

/** How often a moving picture is shown (0: for ever), and for how long each of its frames, in milliseconds. */
export interface Motion { delays: number[], plays: number }

/** What a GIF is: its bytes, and what they say. */
export interface MadeGif { bytes: Buffer, frames: number, duration_ms: number }

/** From the best to the smallest; `share` is about what is left of the bytes of the first. */
const RUNGS = [
  { colors: 255, tolerance: 6, share: 1 },
  { colors: 255, tolerance: 20, share: 0.92 },
  { colors: 160, tolerance: 20, share: 0.8 },
  { colors: 96, tolerance: 24, share: 0.68 },
  { colors: 64, tolerance: 28, share: 0.57 },
  { colors: 40, tolerance: 32, share: 0.45 },
  { colors: 24, tolerance: 40, share: 0.35 },
  { colors: 16, tolerance: 48, share: 0.28 },
  { colors: 8, tolerance: 56, share: 0.18 },
  { colors: 4, tolerance: 64, share: 0.1 },
  { colors: 2, tolerance: 64, share: 0.06 }
]
const MOST_COLORS = 255
/** By how much the bytes grow about, when each part of the frames has a palette of its own. */
const MORE_PALETTES = [{ parts: 8, growth: 2.6 }, { parts: 4, growth: 2.1 }, { parts: 2, growth: 1.6 }]
/** The mean of the squares of a palette's errors that nobody sees. */
const FINE = 10
const LONGEST_CS = 0xffff

/**
 * A GIF of these frames in at most `maxBytes`, as good as fits: with the colours it has, where they are few; else with
 * several palettes or one, then with fewer colours, and with an error that is tolerated.
 * Every frame stays, with its time to within half a hundredth of a second from the start (a hundredth at the least, 655.35 s at the most); only when not even the last rung fits,
 * 2, 4, 8 … neighbours become one, which has their time. What does not fit as one frame of two colours comes as that.
 */
export function makeRendition (frames: Frames, { delays, plays }: Motion, maxBytes: number): MadeGif {
  const own = ownColors(frames.data, MOST_COLORS)
  const exact = own && attempt([own], 0, 1)
  if (exact && exact.bytes.length <= maxBytes) return exact
  const general = chosenColors(frames.data, MOST_COLORS)
  const first = onRung(0, 1)
  if (first.bytes.length <= maxBytes) return withMorePalettes(first)
  for (let merged = 1; ; merged *= 2) {
    const smallest = onRung(RUNGS.length - 1, merged)
    if (smallest.bytes.length <= maxBytes) return best(merged, smallest, maxBytes / first.bytes.length)
    if (merged >= frames.count) return smallest
  }

  /** Bisects, beginning where the bytes of the first rung lead to expect it. */
  function best (merged: number, smallest: MadeGif, wantedShare: number): MadeGif {
    let found = smallest
    let low = merged === 1 ? 1 : 0
    let high = RUNGS.length - 1
    let probe = RUNGS.findIndex(({ share }) => share <= wantedShare * merged)
    while (low < high) {
      probe = probe >= low && probe < high ? probe : (low + high) >> 1
      const made = onRung(probe, merged)
      if (made.bytes.length <= maxBytes) {
        found = made
        high = probe
      } else {
        low = probe + 1
      }
      probe = made.bytes.length <= maxBytes ? high - 1 : low
    }
    return found
  }

  function onRung (rung: number, merged: number): MadeGif {
    const { colors, tolerance } = RUNGS[rung]!
    return attempt([colors === MOST_COLORS ? general : chosenColors(frames.data, colors)], tolerance, merged)
  }

  /** Where one palette for all frames is too few colours: one for each part of them, as many as there is room for. */
  function withMorePalettes (first: MadeGif): MadeGif {
    const room = maxBytes / first.bytes.length
    const parts = Math.min(frames.count, MORE_PALETTES.find(({ growth }) => growth <= room)?.parts ?? 1)
    if (parts === 1 || errorOf(general, frames.data) <= FINE) return first
    const made = attempt(palettesOf(parts), RUNGS[0]!.tolerance, 1)
    return made.bytes.length <= maxBytes ? made : first
  }

  function palettesOf (parts: number): Palette[] {
    const size = frames.data.length / frames.count
    const start = (part: number) => Math.ceil(part * frames.count / parts) * size
    return Array.from({ length: parts }, (_, part) => chosenColors(frames.data.subarray(start(part), start(part + 1)), MOST_COLORS))
  }

  function attempt (palettes: Palette[], tolerance: number, merged: number): MadeGif {
    const { width, height, count, data } = frames
    const size = width * height * 3
    const kept = Array.from({ length: Math.ceil(count / merged) }, (_, i) => i * merged)
    const times = centiseconds(kept.map(k => delays.slice(k, k + merged).reduce((a, b) => a + b, 0)))
    const drawn = kept.map((k, i) => {
      const { colors, indicesOf } = palettes[Math.floor(k * palettes.length / count)]!
      return { indices: indicesOf(data.subarray(k * size, (k + 1) * size)), colors, delayCs: times[i]! }
    })
    const bytes = writeGif({ width, height, frames: drawn, plays }, tolerance)
    return { bytes, frames: drawn.length, duration_ms: times.reduce((a, b) => a + b, 0) * 10 }
  }
}

/** Rounded where a frame ends, not how long it lasts, so that errors do not add up; no frame ends with the one before, if there is time enough for that. */
function centiseconds (delays: number[]): number[] {
  const total = Math.round(delays.reduce((a, b) => a + b, 0) / 10)
  if (total === 0) return delays.map(() => delays.length > 1 ? 1 : 0)
  let ms = 0
  let last = 0
  return delays.map((delay, i) => {
    ms += delay
    const end = Math.max(last + 1, Math.min(Math.round(ms / 10), total - (delays.length - 1 - i)))
    const time = Math.min(end - last, LONGEST_CS)
    last = end
    return time
  })
}
