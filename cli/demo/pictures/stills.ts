import { BLACK, clamp, hue, mixed, modulo, scaled, scatter, smooth, sum, WHITE, type Color } from './color.js'
import type { Still } from './draw.js'

const CLOUDS = [[18, 80, 13], [32, 76, 15], [47, 82, 11], [82, 82, 11], [96, 76, 15], [110, 80, 13]] as const

/** A rainbow between two clouds, and some stars. */
export const rainbow: Still = {
  width: 128,
  height: 96,
  paint (x, y) {
    const away = Math.hypot(x + 0.5 - 64, y + 0.5 - 84)
    const band = Math.floor((72 - away) / 4.5)
    const arc = band >= 0 && band < 7 && y < 84 ? hue([0, 0.07, 0.16, 0.33, 0.52, 0.66, 0.8][band]!) : BLACK
    const star = scatter(y * 128 + x) > 0.995 && away > 74 ? scaled(WHITE, 0.7) : BLACK
    const [cloud, light] = CLOUDS.reduce(([most, shine], [cx, cy, radius]) => {
      const inside = smooth(radius + 0.7, radius - 0.7, Math.hypot(x + 0.5 - cx, y + 0.5 - cy))
      return [Math.max(most, inside), Math.max(shine, inside * clamp(1 - (y - cy + radius) / (radius * 3.2)))]
    }, [0, 0])
    return mixed(sum(arc, star), mixed([0.3, 0.4, 0.75], WHITE, light), cloud)
  }
}

const FACE = [
  '.....KKKKKK.....',
  '...KKyyyyyyKK...',
  '..KyyyyyyyyyyK..',
  '.KyyYYYYYYYYyyK.',
  '.KyYYYYYYYYYYyK.',
  'KBBBBBBBBBBBBBBK',
  'KyBwBBBYYBwBBByK',
  'KyBBwBBYYBBwBByK',
  'KyYBBBYYYYBBBYyK',
  'KyYYYYYYYYYYYYyK',
  'KyYRYYYYYYYYRYyK',
  '.KyYRYYYYYYRYyK.',
  '.KooYRRRRRRYooK.',
  '..KooYYYYYYooK..',
  '...KKooooooKK...',
  '.....KKKKKK.....'
]
const INKS: Record<string, Color> = {
  '.': BLACK,
  K: [0.55, 0.3, 0],
  y: [1, 0.7, 0],
  Y: [1, 0.85, 0.05],
  o: [0.95, 0.5, 0],
  B: [0.02, 0.02, 0.08],
  w: [0.2, 0.75, 1],
  R: [0.75, 0.05, 0.1]
}

/** A face with sunglasses, of 16 by 16 dots. */
export const smiley: Still = { width: 64, height: 64, paint: (x, y) => INKS[FACE[y >> 2]![x >> 2]!]! }

const GLOBE = { x: 48, y: 44, radius: 36, tilt: 0.3 }

/** A red and white ball before a grid. */
export const globe: Still = {
  width: 96,
  height: 96,
  paint (x, y) {
    const [u, v] = [(x + 0.5 - GLOBE.x) / GLOBE.radius, (y + 0.5 - GLOBE.y) / GLOBE.radius]
    const shadow = smooth(0.9, 1.05, Math.hypot(u - 0.28, v - 0.22))
    const grid = x % 12 === 6 || y % 12 === 6 ? scaled([0.62, 0.1, 0.85], 0.25 + 0.75 * shadow) : BLACK
    return mixed(grid, ball(u, v), smooth(1.02, 0.98, Math.hypot(u, v)))
  }
}

function ball (u: number, v: number): Color {
  const depth = Math.sqrt(Math.max(0, 1 - u * u - v * v))
  const x = u * Math.cos(GLOBE.tilt) + v * Math.sin(GLOBE.tilt)
  const y = v * Math.cos(GLOBE.tilt) - u * Math.sin(GLOBE.tilt)
  const [east, north] = [Math.atan2(x, depth) / Math.PI * 8, Math.asin(clamp((y + 1) / 2) * 2 - 1) / Math.PI * 8]
  const isRed = modulo(Math.floor(east + 0.4) + Math.floor(north), 2) === 0
  const light = 0.35 + 0.75 * clamp(-0.45 * u - 0.55 * v + 0.7 * depth)
  const shine = smooth(0.28, 0, Math.hypot(u + 0.38, v + 0.42))
  return sum(scaled(isRed ? [1, 0.04, 0.06] : WHITE, light), scaled(WHITE, 0.6 * shine))
}

const STRIPES = 6

/** A flag of six stripes in the wind. */
export const flag: Still = {
  width: 160,
  height: 104,
  paint (x, y) {
    const swing = Math.sin(x / 160 * 2.6 * Math.PI) * (0.25 + 0.75 * x / 160)
    const slope = Math.cos(x / 160 * 2.6 * Math.PI) * (0.25 + 0.75 * x / 160)
    const row = (y + 0.5 - 16 - 7 * swing) / 72
    if (row < 0 || row >= 1 || x < 6 || x >= 154) return BLACK
    const color = hue([0, 0.07, 0.155, 0.36, 0.62, 0.79][Math.floor(row * STRIPES)]!)
    return sum(scaled(color, 0.82 + 0.34 * slope), scaled(WHITE, 0.16 * clamp(slope) ** 2))
  }
}
