import { clamp, mixed, scaled, smooth, sum, type Color } from './color.js'
import type { Animation } from './draw.js'

const SIDE = 64
const FRAMES = 24
const DEEP: Color = [0.75, 0, 0.1]
const BRIGHT: Color = [1, 0.08, 0.2]
const SHINE: Color = [1, 0.75, 0.8]

/** A heart that beats twice and rests, with a glow around it. */
export const heart: Animation = {
  width: SIDE,
  height: SIDE,
  frames: FRAMES,
  delayCs: 5,
  paint (frame) {
    const beat = pulse(frame, 5) + 0.6 * pulse(frame, 11)
    const size = 40 + 8 * beat
    return (x, y) => {
      const [u, v] = [(x - SIDE / 2 + 0.5) / size, (SIDE / 2 - y) / size + 0.55]
      const away = distance(u, v) * size
      const shine = scaled(SHINE, 0.8 * smooth(0.19, 0, Math.hypot(u + 0.27, v - 0.82)))
      const inside = sum(mixed(DEEP, BRIGHT, clamp(v * 1.1)), shine)
      const glow = scaled(DEEP, (0.35 + 0.4 * beat) * Math.exp(-Math.max(0, away) / 6))
      return mixed(inside, glow, smooth(-0.7, 0.7, away))
    }
  }
}

const pulse = (frame: number, at: number) => Math.exp(-((frame - at) ** 2) / 4.5)

/** The distance from the edge of a heart with its tip at 0, 0 and a height of about 1.1 (Quilez); negative inside. */
function distance (x: number, y: number): number {
  const side = Math.abs(x)
  if (y + side > 1) return Math.hypot(side - 0.25, y - 0.75) - Math.SQRT2 / 4
  const half = Math.max(side + y, 0) / 2
  return Math.min(Math.hypot(side, y - 1), Math.hypot(side - half, y - half)) * Math.sign(side - y)
}
