import { BLACK, hue, modulo } from './color.js'
import type { Animation } from './draw.js'

const SIDE = 64
const TEXT = 'HELLO HOOKABA ♥ '
/** Rows from the top, a bit for each column from the left. */
const GLYPHS: Record<string, number[]> = {
  A: [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
  B: [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110],
  E: [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111],
  H: [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
  K: [0b10001, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010, 0b10001],
  L: [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111],
  O: [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
  '♥': [0b00000, 0b01010, 0b11111, 0b11111, 0b11111, 0b01110, 0b00100],
  ' ': [0, 0, 0, 0, 0, 0, 0]
}
const [COLUMNS, ROWS, SCALE] = [6, 7, 2]
const LENGTH = TEXT.length * COLUMNS * SCALE
const STEP = 3
const FRAMES = LENGTH / STEP
const TOP = (SIDE - ROWS * SCALE) / 2

/** A text that rolls by on a wave, as in the demos of home computers. */
export const scroller: Animation = {
  width: SIDE,
  height: SIDE,
  frames: FRAMES,
  delayCs: 5,
  paint (frame) {
    const turn = frame / FRAMES
    return (x, y) => {
      const at = modulo(x + frame * STEP, LENGTH)
      const letter = Math.floor(at / COLUMNS / SCALE)
      const column = Math.floor(at / SCALE) % COLUMNS
      const wave = Math.round(13 * Math.sin((letter * 2 / TEXT.length + turn * 3) * 2 * Math.PI))
      const row = Math.floor((y - TOP - wave) / SCALE)
      const bits = GLYPHS[TEXT[letter]!]![row] ?? 0
      const isLit = column < COLUMNS - 1 && (bits >> (COLUMNS - 2 - column) & 1) === 1
      return isLit ? hue(letter / TEXT.length * 3 + y / 160) : BLACK
    }
  }
}
