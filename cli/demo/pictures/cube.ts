import { hue, scaled, sum, WHITE, type Color } from './color.js'
import type { Animation } from './draw.js'

const SIDE = 64
const FRAMES = 36
const TILT = 0.5
const DISTANCE = 4.2
const CORNERS = Array.from({ length: 8 }, (_, n) => [n & 1, n >> 1 & 1, n >> 2 & 1].map(bit => bit * 2 - 1))
/** Corners that differ in one coordinate. */
const EDGES = CORNERS.flatMap((_, a) => [1, 2, 4].filter(bit => (a & bit) === 0).map(bit => [a, a | bit] as const))

interface Point { x: number, y: number, depth: number }

/** A wireframe that turns by a quarter, after which it looks the same. */
export const cube: Animation = {
  width: SIDE,
  height: SIDE,
  frames: FRAMES,
  delayCs: 5,
  paint (frame) {
    const points = CORNERS.map(corner => projected(corner, frame / FRAMES * Math.PI / 2))
    const lines = EDGES.map(([a, b]) => [points[a]!, points[b]!] as const)
    return (x, y) => {
      let light: Color = [0, 0, 0]
      for (const [a, b] of lines) {
        const { away, depth } = nearest(a, b, x + 0.5, y + 0.5)
        if (away > 5) continue
        const near = 1.15 - 0.5 * depth
        light = sum(
          light,
          scaled(hue(0.5 + 0.22 * depth), near * Math.exp(-away * away / 1.8)),
          scaled(WHITE, 0.45 * near * Math.exp(-away * away / 0.4))
        )
      }
      return light
    }
  }
}

/** `depth` is 0 in front and about 1 behind. */
function projected (corner: number[], angle: number): Point {
  const [x = 0, y = 0, z = 0] = corner
  const [turnedX, turnedZ] = turned(x, z, angle)
  const [tiltedY, tiltedZ] = turned(y, turnedZ, TILT)
  const zoom = SIDE * 0.92 / (DISTANCE + tiltedZ)
  return { x: SIDE / 2 + turnedX * zoom, y: SIDE / 2 + tiltedY * zoom, depth: (tiltedZ + 1.7) / 3.4 }
}

const turned = (a: number, b: number, angle: number) =>
  [a * Math.cos(angle) - b * Math.sin(angle), a * Math.sin(angle) + b * Math.cos(angle)] as const

/** The distance of a place from a line, and the depth there. */
function nearest (a: Point, b: Point, x: number, y: number): { away: number, depth: number } {
  const [dx, dy] = [b.x - a.x, b.y - a.y]
  const along = Math.min(1, Math.max(0, ((x - a.x) * dx + (y - a.y) * dy) / (dx * dx + dy * dy)))
  return {
    away: Math.hypot(x - a.x - along * dx, y - a.y - along * dy),
    depth: a.depth + along * (b.depth - a.depth)
  }
}
