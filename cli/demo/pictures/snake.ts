import { BLACK, hue, mixed, modulo, scaled, WHITE, type Color } from './color.js'
import type { Animation } from './draw.js'

const SIDE = 64
const CELL = 4
const LENGTH = 13
const CORNERS = [[2, 2], [13, 2], [13, 6], [5, 6], [5, 9], [13, 9], [13, 13], [2, 13]] as const
/** The cells of the snake's round, in order. */
const WAY = CORNERS.flatMap(([x, y], n) => {
  const [toX, toY] = CORNERS[(n + 1) % CORNERS.length]!
  const steps = Math.abs(toX - x) + Math.abs(toY - y)
  return Array.from({ length: steps }, (_, i) => ({ x: x + Math.sign(toX - x) * i, y: y + Math.sign(toY - y) * i }))
})
/** Steps between two apples. */
const APART = 15
const APPLE: Color = [1, 0.05, 0.1]
const WALL: Color = [0.06, 0.1, 0.28]

/** A snake on its round. It eats an apple every fifteen steps. */
export const snake: Animation = {
  width: SIDE,
  height: SIDE,
  frames: WAY.length,
  delayCs: 9,
  paint (frame) {
    const cells = new Map<string, Color>()
    const apple = WAY[(Math.floor(frame / APART) + 1) * APART % WAY.length]!
    cells.set(`${apple.x},${apple.y}`, APPLE)
    for (let n = LENGTH - 1; n >= 0; n--) {
      const { x, y } = WAY[modulo(frame - n, WAY.length)]!
      cells.set(`${x},${y}`, n === 0 ? mixed(hue(0.3), WHITE, 0.5) : scaled(hue(0.3 + 0.02 * n), 1 - 0.055 * n))
    }
    return (x, y) => {
      if (x < 2 || y < 2 || x >= SIDE - 2 || y >= SIDE - 2) return WALL
      const isGap = x % CELL === CELL - 1 || y % CELL === CELL - 1
      return isGap ? BLACK : cells.get(`${Math.floor(x / CELL)},${Math.floor(y / CELL)}`) ?? BLACK
    }
  }
}
