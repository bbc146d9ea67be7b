import { clamp, mixed, modulo, scaled, scatter, smooth, sum, WHITE, type Color } from './color.js'
import type { Animation } from './draw.js'

const SIDE = 128
const FRAMES = 16
const HORIZON = 78
const SUN = { x: SIDE / 2, y: 56, radius: 38 }
const STARS = Array.from({ length: 40 }, (_, n) =>
  ({ x: Math.floor(scatter(n) * SIDE), y: Math.floor(scatter(n + 50) * 60), phase: scatter(n + 90) }))
const NIGHT: Color = [0.02, 0, 0.1]
const DUSK: Color = [0.5, 0, 0.42]
const YELLOW: Color = [1, 0.85, 0.1]
const PINK: Color = [1, 0.05, 0.5]
const CYAN: Color = [0.05, 0.95, 1]

/** A sun of stripes over a grid that comes nearer. */
export const sunset: Animation = {
  width: SIDE,
  height: SIDE,
  frames: FRAMES,
  delayCs: 6,
  paint (frame) {
    const turn = frame / FRAMES
    const stars = new Map(STARS.map(({ x, y, phase }) =>
      [y * SIDE + x, 0.45 + 0.4 * Math.sin((turn + phase) * 2 * Math.PI)]))
    return (x, y) => y >= HORIZON ? floor(x, y, turn) : sky(x, y, stars.get(y * SIDE + x) ?? 0)
  }
}

function sky (x: number, y: number, star: number): Color {
  const height = y / HORIZON
  const away = Math.hypot(x + 0.5 - SUN.x, y + 0.5 - SUN.y)
  const air = sum(mixed(NIGHT, DUSK, height ** 2.5), scaled(PINK, 0.28 * Math.exp(-Math.max(0, away - SUN.radius) / 9)))
  const body = mixed(YELLOW, PINK, clamp((y - SUN.y + SUN.radius * 0.7) / (SUN.radius * 1.6)))
  const inSun = smooth(SUN.radius + 0.7, SUN.radius - 0.7, away)
  return mixed(sum(air, scaled(WHITE, star)), body, isCut(y) ? 0 : inSun)
}

/** Whether the row lies in one of the gaps of the sun, which grow downwards. */
function isCut (y: number): boolean {
  const below = y - SUN.y + 6
  return below > 0 && below % 8 < 1 + below / 8
}

function floor (x: number, y: number, turn: number): Color {
  const near = (y - HORIZON + 0.8) / (SIDE - HORIZON)
  const across = line((x + 0.5 - SIDE / 2) / (near * 26), 26 * near)
  const along = line(2.2 / near - turn, near * near * 18)
  const glow = scaled(PINK, 0.45 * (1 - near) ** 6)
  const lines = scaled(mixed(PINK, CYAN, clamp(near * 1.4)), clamp(across + along) * (0.35 + 0.65 * near))
  return sum(NIGHT, glow, lines)
}

/** 1 on whole numbers; `pixels`: how many of them are between two. */
function line (at: number, pixels: number): number {
  const away = Math.abs(modulo(at + 0.5, 1) - 0.5) * pixels
  return Math.exp(-away * away * 1.1) * clamp(pixels / 3)
}
