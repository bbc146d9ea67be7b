import { BLACK, clamp, hue, mixed, modulo, scaled, scatter, sum, WHITE, type Color } from './color.js'
import type { Animation } from './draw.js'

const SIDE = 64
const FRAMES = 48
const SPARKS = 44
/** In frames. */
const RISE = 12
const LIFE = 24

interface Rocket { start: number, x: number, y: number, turn: number }
interface Spark { x: number, y: number, light: Color }

const ROCKETS: Rocket[] = [
  { start: 0, x: 20, y: 20, turn: 0.02 },
  { start: 13, x: 45, y: 15, turn: 0.55 },
  { start: 25, x: 30, y: 27, turn: 0.13 },
  { start: 38, x: 50, y: 30, turn: 0.83 }
]

/** Four rockets, one after another. */
export const fireworks: Animation = {
  width: SIDE,
  height: SIDE,
  frames: FRAMES,
  delayCs: 6,
  paint (frame) {
    const sparks = ROCKETS.flatMap(rocket => sparksOf(rocket, modulo(frame - rocket.start, FRAMES)))
    return (x, y) => {
      let light = BLACK
      for (const spark of sparks) {
        const away = (spark.x - x) ** 2 + (spark.y - y) ** 2
        if (away < 12) light = sum(light, scaled(spark.light, Math.exp(-away / 1.3)))
      }
      return light
    }
  }
}

function sparksOf ({ x, y, turn }: Rocket, age: number): Spark[] {
  if (age < RISE) return trail(x, y, age)
  const seconds = age - RISE
  if (seconds >= LIFE) return []
  const left = 1 - seconds / LIFE
  const way = 1 - 0.86 ** seconds
  return Array.from({ length: SPARKS }, (_, n) => {
    const [angle, speed] = [scatter(n) * 2 * Math.PI, 8 + 14 * Math.sqrt(scatter(n + 100))]
    const twinkle = 0.7 + 0.3 * Math.sin(seconds * 2 + n)
    return {
      x: x + Math.cos(angle) * speed * way,
      y: y + Math.sin(angle) * speed * way + 0.018 * seconds * seconds,
      light: scaled(mixed(hue(turn + 0.08 * scatter(n + 200)), WHITE, clamp(1 - seconds / 5)), 2.1 * left * twinkle)
    }
  })
}

/** A rocket slows down as it rises. */
function trail (x: number, y: number, age: number): Spark[] {
  return Array.from({ length: 5 }, (_, n) => {
    const at = clamp((age - n * 0.7) / RISE)
    return { x, y: SIDE + 4 - (SIDE + 4 - y) * (1 - (1 - at) ** 2), light: scaled([1, 0.7, 0.25], 0.9 - 0.17 * n) }
  })
}
